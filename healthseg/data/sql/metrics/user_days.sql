-- Per customer, user and day: person events.
SELECT
  s.k,
  u.user_id,
  DATEDIFF('day', DATE '1970-01-01', u.day) AS day,
  CAST(u.events AS BIGINT) AS person_events
FROM user_day AS u
JOIN scope AS s ON s.client_id = u.client_id
CROSS JOIN bounds AS b
WHERE u.events > 0 AND u.user_id IS NOT NULL
  AND u.day >= b.floor_day
  AND u.day < b.until_day
  AND u.client_id BETWEEN (SELECT MIN(client_id) FROM scope) AND (SELECT MAX(client_id) FROM scope)
