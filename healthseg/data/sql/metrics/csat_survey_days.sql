-- Per customer and day: CSAT answers of surveys and their sum, in thousandths.
SELECT s.k, DATEDIFF('day', DATE '1970-01-01', a.responded_day) AS day, COUNT(*) AS n,
  SUM(CAST(CAST(a.score AS DECIMAL(12, 3)) * 1000 AS BIGINT)) AS thousandths
FROM surveys AS a
JOIN scope AS s ON s.client_id = a.client_id
WHERE a.kind = 'csat'
GROUP BY 1, 2
