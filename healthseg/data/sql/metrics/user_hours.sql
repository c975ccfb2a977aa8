-- Per customer, user and local hour: person events; the hour of UTC beside it tells the doubled hour of autumn apart.
SELECT
  s.k,
  u.user_id,
  DATEDIFF('day', DATE '1970-01-01', u.day) AS day,
  CAST(u.hour AS INTEGER) AS hour,
  DATEDIFF('hour', TIMESTAMP '1970-01-01 00:00:00', u.hour_utc) AS hour_utc,
  CAST(u.events AS BIGINT) AS person_events
FROM user_hour AS u
JOIN scope AS s ON s.client_id = u.client_id
CROSS JOIN bounds AS b
WHERE u.events > 0
  AND u.day >= b.floor_day
  AND u.day < b.until_day
  AND u.client_id BETWEEN (SELECT MIN(client_id) FROM scope) AND (SELECT MAX(client_id) FROM scope)
