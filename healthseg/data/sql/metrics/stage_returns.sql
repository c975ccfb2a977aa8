-- Per customer: the days on which a stage other than churned followed churned, as it was recorded by ``until_day``.
-- in: bounds(until_day): the first day that is not read
WITH known AS (
  SELECT g.client_id, g.stage, g.effective_day,
    LAG(g.stage) OVER (PARTITION BY g.client_id ORDER BY g.effective_at, g.recorded_at, g.stage) AS before
  FROM stage_changes AS g
  CROSS JOIN bounds AS b
  WHERE g.effective_day < b.until_day AND (g.recorded_day IS NULL OR g.recorded_day < b.until_day)
)
SELECT client_id, MAX(DATEDIFF('day', DATE '1970-01-01', effective_day)) AS day
FROM known
WHERE before = 'churned' AND stage <> 'churned'
GROUP BY 1
ORDER BY 1
