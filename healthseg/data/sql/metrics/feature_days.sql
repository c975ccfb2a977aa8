-- Per customer, feature and day: person events and distinct users.
SELECT
  s.k,
  f.feature,
  DATEDIFF('day', DATE '1970-01-01', f.day) AS day,
  SUM(CAST(f.events AS BIGINT)) AS person_events,
  COUNT(f.user_id) AS users
FROM feature_day AS f
JOIN scope AS s ON s.client_id = f.client_id
CROSS JOIN bounds AS b
WHERE f.events > 0
  AND f.day >= b.floor_day
  AND f.day < b.until_day
  AND f.client_id BETWEEN (SELECT MIN(client_id) FROM scope) AND (SELECT MAX(client_id) FROM scope)
GROUP BY 1, 2, 3
