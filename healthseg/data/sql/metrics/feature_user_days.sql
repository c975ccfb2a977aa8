-- Per customer, feature, user and day: one row where there was a person event.
SELECT s.k, f.feature, f.user_id, DATEDIFF('day', DATE '1970-01-01', f.day) AS day
FROM feature_day AS f
JOIN scope AS s ON s.client_id = f.client_id
CROSS JOIN bounds AS b
WHERE f.events > 0 AND f.user_id IS NOT NULL
  AND f.day >= b.floor_day
  AND f.day < b.until_day
  AND f.client_id BETWEEN (SELECT MIN(client_id) FROM scope) AND (SELECT MAX(client_id) FROM scope)
