-- Per customer and day: tickets opened, and the change in open ones, all and those of high or critical severity.
WITH changes AS (
  SELECT s.k, DATEDIFF('day', DATE '1970-01-01', t.opened_day) AS day, 1 AS opened, 1 AS open_change,
    CASE WHEN t.severity IN ('high', 'critical') THEN 1 ELSE 0 END AS open_high_change
  FROM tickets AS t
  JOIN scope AS s ON s.client_id = t.client_id
  UNION ALL
  SELECT s.k, DATEDIFF('day', DATE '1970-01-01', t.resolved_day) AS day, 0 AS opened, -1 AS open_change,
    CASE WHEN t.severity IN ('high', 'critical') THEN -1 ELSE 0 END AS open_high_change
  FROM tickets AS t
  JOIN scope AS s ON s.client_id = t.client_id
  WHERE t.resolved_day IS NOT NULL
)
SELECT k, day, SUM(CAST(opened AS BIGINT)) AS opened, SUM(CAST(open_change AS BIGINT)) AS open_change,
  SUM(CAST(open_high_change AS BIGINT)) AS open_high_change
FROM changes
GROUP BY 1, 2
