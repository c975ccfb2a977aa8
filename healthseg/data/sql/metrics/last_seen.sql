-- Per customer: the days with a person event from floor_day on, and the last one before it.
SELECT
  s.k,
  CASE WHEN u.day < b.floor_day THEN NULL
       ELSE DATEDIFF('day', DATE '1970-01-01', u.day) END AS day,
  MAX(DATEDIFF('day', DATE '1970-01-01', u.day)) AS seen
FROM user_day AS u
JOIN scope AS s ON s.client_id = u.client_id
CROSS JOIN bounds AS b
WHERE u.events > 0 AND u.day < b.until_day
  AND u.client_id BETWEEN (SELECT MIN(client_id) FROM scope) AND (SELECT MAX(client_id) FROM scope)
GROUP BY 1, 2
