-- The customers' stages in account-local days since 1970, in order of effect and record.
SELECT s.k, g.stage,
  DATEDIFF('day', DATE '1970-01-01', g.effective_day) AS effective,
  DATEDIFF('day', DATE '1970-01-01', COALESCE(g.recorded_day, g.effective_day)) AS recorded
FROM stage_changes AS g
JOIN scope AS s ON s.client_id = g.client_id
ORDER BY s.k, g.effective_at, g.recorded_at NULLS FIRST, g.stage
