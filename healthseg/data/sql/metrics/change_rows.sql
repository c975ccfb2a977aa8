-- The customers' other changes in days since 1970, in order of field, effect and record.
SELECT s.k, c.field, c.value,
  DATEDIFF('day', DATE '1970-01-01', c.effective_on) AS effective,
  DATEDIFF('day', DATE '1970-01-01', COALESCE(c.recorded_day, c.effective_on)) AS recorded
FROM customer_changes AS c
JOIN scope AS s ON s.client_id = c.client_id
ORDER BY c.field, s.k, c.effective_on, COALESCE(c.recorded_day, c.effective_on), c.recorded_at NULLS FIRST, c.value
