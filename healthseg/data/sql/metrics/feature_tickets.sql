-- Per customer, feature, topic and day: tickets opened on the feature.
SELECT s.k, t.feature, t.topic, DATEDIFF('day', DATE '1970-01-01', t.opened_day) AS day, COUNT(*) AS tickets
FROM tickets AS t
JOIN scope AS s ON s.client_id = t.client_id
WHERE t.feature IS NOT NULL
GROUP BY 1, 2, 3, 4
ORDER BY 1, 2, 3, 4
