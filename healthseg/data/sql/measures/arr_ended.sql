-- The customers whose last change of ARR ended it, and when.
WITH ranked AS (
  SELECT client_id, effective_on, arr, reason,
    ROW_NUMBER() OVER (PARTITION BY client_id ORDER BY effective_on DESC, arr DESC) AS place
  FROM arr_changes
)
SELECT client_id, effective_on AS ended_on
FROM ranked
WHERE place = 1 AND (arr = 0 OR reason = 'churn')
ORDER BY client_id
