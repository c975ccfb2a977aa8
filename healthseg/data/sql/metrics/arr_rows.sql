-- The customers' statements of ARR in days since 1970, each visible from the day on which it was effective and recorded,
-- in order of effect and record. A churn that names no ARR leaves none.
SELECT s.k, a.reason, COALESCE(a.arr, 0) AS arr,
  DATEDIFF('day', DATE '1970-01-01', a.effective_on) AS effective,
  DATEDIFF('day', DATE '1970-01-01', COALESCE(a.recorded_day, a.effective_on)) AS recorded
FROM arr_changes AS a
JOIN scope AS s ON s.client_id = a.client_id
WHERE a.arr IS NOT NULL OR a.reason = 'churn'
ORDER BY s.k, a.effective_on, COALESCE(a.recorded_day, a.effective_on), a.recorded_at NULLS FIRST, a.arr
