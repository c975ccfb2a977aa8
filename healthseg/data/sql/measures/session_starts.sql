-- Per session of a user: the account-local day on which it began, and the second since 1970 (UTC) at which it did.
SELECT
  s.k,
  x.user_id,
  DATEDIFF('day', DATE '1970-01-01', x.start_day) AS day,
  DATEDIFF('second', TIMESTAMP '1970-01-01 00:00:00', x.session_start) AS start_second
FROM sessions AS x
JOIN scope AS s ON s.client_id = x.client_id
CROSS JOIN bounds AS b
WHERE x.day = x.start_day
  AND x.start_day >= b.floor_day
  AND x.start_day < b.until_day
  AND x.client_id BETWEEN (SELECT MIN(client_id) FROM scope) AND (SELECT MAX(client_id) FROM scope)
