-- Per customer and day: person events, those that name a user, API events, events of other sources, distinct users with a
-- person event.
-- in: scope(k, client_id), bounds(floor_day, until_day); facts user_day
SELECT
  s.k,
  DATEDIFF('day', DATE '1970-01-01', u.day) AS day,
  SUM(CAST(u.events AS BIGINT)) AS person_events,
  SUM(CASE WHEN u.user_id IS NOT NULL THEN CAST(u.events AS BIGINT) ELSE 0 END) AS named_events,
  SUM(CAST(u.api_events AS BIGINT)) AS api_events,
  SUM(CAST(u.other_events AS BIGINT)) AS other_events,
  COUNT(CASE WHEN u.events > 0 AND u.user_id IS NOT NULL THEN 1 END) AS users
FROM user_day AS u
JOIN scope AS s ON s.client_id = u.client_id
CROSS JOIN bounds AS b
WHERE u.day >= b.floor_day
  AND u.day < b.until_day
  AND u.client_id BETWEEN (SELECT MIN(client_id) FROM scope) AND (SELECT MAX(client_id) FROM scope)
GROUP BY 1, 2
