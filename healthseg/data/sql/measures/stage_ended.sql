-- The customers whose last stage is churned, and since when.
WITH ranked AS (
  SELECT client_id, effective_day, stage,
    ROW_NUMBER() OVER (PARTITION BY client_id ORDER BY effective_at DESC, stage DESC) AS place
  FROM stage_changes
)
SELECT client_id, effective_day AS ended_on
FROM ranked
WHERE place = 1 AND stage = 'churned'
ORDER BY client_id
