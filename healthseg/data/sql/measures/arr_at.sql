-- Per customer and date: the last change of ARR that was effective and known by then.
WITH ranked AS (
  SELECT m.k, m.day, a.arr,
    ROW_NUMBER() OVER (PARTITION BY m.k, m.day ORDER BY a.effective_on DESC, a.arr DESC) AS place
  FROM moments AS m
  JOIN scope AS s ON s.k = m.k
  JOIN arr_changes AS a ON a.client_id = s.client_id
  WHERE DATEDIFF('day', DATE '1970-01-01', a.effective_on) <= m.day
)
SELECT k, day, arr FROM ranked WHERE place = 1
