-- Per customer and date: the last change of ARR that was effective by then, since when, and whether it ended it: by its
-- reason, or to zero from more than that.
-- in: moments(k, day)
WITH ranked AS (
  SELECT m.k, m.day, a.arr, a.reason, DATEDIFF('day', DATE '1970-01-01', a.effective_on) AS from_day,
    MAX(a.arr) OVER (PARTITION BY m.k, m.day) AS highest,
    ROW_NUMBER() OVER (PARTITION BY m.k, m.day ORDER BY a.effective_on DESC, a.arr DESC) AS place
  FROM moments AS m
  JOIN scope AS s ON s.k = m.k
  JOIN arr_changes AS a ON a.client_id = s.client_id
  WHERE DATEDIFF('day', DATE '1970-01-01', a.effective_on) <= m.day
)
SELECT k, day, arr, from_day, CASE WHEN reason = 'churn' OR (arr = 0 AND highest > 0) THEN 1 ELSE 0 END AS ended
FROM ranked
WHERE place = 1
