-- Per customer, feature, topic and day on which it was known: CSAT answers on the feature, of surveys and of tickets.
SELECT s.k, a.feature, CAST(NULL AS VARCHAR) AS topic, DATEDIFF('day', DATE '1970-01-01', a.responded_day) AS day,
  a.score
FROM surveys AS a
JOIN scope AS s ON s.client_id = a.client_id
WHERE a.kind = 'csat' AND a.feature IS NOT NULL
UNION ALL
SELECT s.k, t.feature, t.topic, DATEDIFF('day', DATE '1970-01-01', t.resolved_day) AS day, t.csat AS score
FROM tickets AS t
JOIN scope AS s ON s.client_id = t.client_id
WHERE t.csat IS NOT NULL AND t.resolved_day IS NOT NULL AND t.feature IS NOT NULL
ORDER BY 1, 2, 3, 4, 5
