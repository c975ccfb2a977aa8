-- Per customer, feature and day: messages about the feature.
SELECT s.k, m.feature, DATEDIFF('day', DATE '1970-01-01', m.sent_day) AS day, COUNT(*) AS messages
FROM messages AS m
JOIN scope AS s ON s.client_id = m.client_id
WHERE m.feature IS NOT NULL
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3
