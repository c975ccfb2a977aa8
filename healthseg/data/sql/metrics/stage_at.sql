-- Per customer and date: the lifecycle stage that was effective and recorded by then, and since when.
WITH ranked AS (
  SELECT m.k, m.day, g.stage, DATEDIFF('day', DATE '1970-01-01', g.effective_day) AS from_day,
    ROW_NUMBER() OVER (PARTITION BY m.k, m.day ORDER BY g.effective_at DESC, g.recorded_at DESC, g.stage DESC) AS place
  FROM moments AS m
  JOIN scope AS s ON s.k = m.k
  JOIN stage_changes AS g ON g.client_id = s.client_id
  WHERE DATEDIFF('day', DATE '1970-01-01', g.effective_day) <= m.day
    AND (g.recorded_day IS NULL OR DATEDIFF('day', DATE '1970-01-01', g.recorded_day) <= m.day)
)
SELECT k, day, stage, from_day FROM ranked WHERE place = 1
