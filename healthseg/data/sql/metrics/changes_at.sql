-- Per customer, date and field: the value that was last set by then, and known by then.
WITH ranked AS (
  SELECT m.k, m.day, c.field, c.value,
    ROW_NUMBER() OVER (PARTITION BY m.k, m.day, c.field ORDER BY c.effective_on DESC, c.value DESC) AS place
  FROM moments AS m
  JOIN scope AS s ON s.k = m.k
  JOIN customer_changes AS c ON c.client_id = s.client_id
  WHERE DATEDIFF('day', DATE '1970-01-01', c.effective_on) <= m.day
    AND (c.recorded_day IS NULL OR DATEDIFF('day', DATE '1970-01-01', c.recorded_day) <= m.day)
)
SELECT k, day, field, value FROM ranked WHERE place = 1
