-- Per customer and day: tickets opened, and the change in open ones: all, those of high or critical severity, those of
-- unknown severity. A ticket is of its severity from when that was set, or from its opening.
WITH lives AS (
  SELECT s.k, DATEDIFF('day', DATE '1970-01-01', t.opened_day) AS opened,
    DATEDIFF('day', DATE '1970-01-01', t.resolved_day) AS resolved,
    DATEDIFF('day', DATE '1970-01-01', CASE
      WHEN t.severity IN ('high', 'critical') THEN COALESCE(t.severity_set_day, t.opened_day) END) AS high,
    CASE WHEN t.severity IS NULL THEN 1 ELSE 0 END AS unrated
  FROM tickets AS t
  JOIN scope AS s ON s.client_id = t.client_id
), changes AS (
  SELECT k, opened AS day, 1 AS opened, 1 AS open_change, 0 AS open_high_change, unrated AS open_unrated_change FROM lives
  UNION ALL
  SELECT k, resolved AS day, 0 AS opened, -1 AS open_change, 0 AS open_high_change, -unrated AS open_unrated_change
  FROM lives
  WHERE resolved IS NOT NULL
  UNION ALL
  SELECT k, high AS day, 0 AS opened, 0 AS open_change, 1 AS open_high_change, 0 AS open_unrated_change
  FROM lives
  WHERE high IS NOT NULL AND (resolved IS NULL OR high < resolved)
  UNION ALL
  SELECT k, resolved AS day, 0 AS opened, 0 AS open_change, -1 AS open_high_change, 0 AS open_unrated_change
  FROM lives
  WHERE high < resolved
)
SELECT k, day, SUM(CAST(opened AS BIGINT)) AS opened, SUM(CAST(open_change AS BIGINT)) AS open_change,
  SUM(CAST(open_high_change AS BIGINT)) AS open_high_change,
  SUM(CAST(open_unrated_change AS BIGINT)) AS open_unrated_change
FROM changes
GROUP BY 1, 2
