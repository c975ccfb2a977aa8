-- The customers whose last change of ARR ended it, and when: to zero from more than that, or by its reason.
WITH ranked AS (
  SELECT client_id, effective_on, arr, reason,
    MAX(arr) OVER (PARTITION BY client_id) AS highest,
    ROW_NUMBER() OVER (PARTITION BY client_id ORDER BY effective_on DESC, arr DESC) AS place
  FROM arr_changes
)
SELECT client_id, effective_on AS ended_on
FROM ranked
WHERE place = 1 AND (reason = 'churn' OR (arr = 0 AND highest > 0))
ORDER BY client_id
