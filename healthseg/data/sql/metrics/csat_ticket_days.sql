-- Per customer and day of resolution: CSAT answers of tickets and their sum, in thousandths.
SELECT s.k, DATEDIFF('day', DATE '1970-01-01', t.resolved_day) AS day, COUNT(*) AS n,
  SUM(CAST(CAST(t.csat AS DECIMAL(12, 3)) * 1000 AS BIGINT)) AS thousandths
FROM tickets AS t
JOIN scope AS s ON s.client_id = t.client_id
WHERE t.csat IS NOT NULL AND t.resolved_day IS NOT NULL
GROUP BY 1, 2
