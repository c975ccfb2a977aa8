-- Per customer, starting day and day: sessions begun, and the seconds that this day added to their length.
SELECT
  s.k,
  DATEDIFF('day', DATE '1970-01-01', x.start_day) AS start_day,
  DATEDIFF('day', DATE '1970-01-01', x.day) AS day,
  SUM(CAST(CASE WHEN x.day = x.start_day THEN 1 ELSE 0 END AS BIGINT)) AS sessions,
  SUM(CAST(x.added_seconds AS BIGINT)) AS seconds
FROM sessions AS x
JOIN scope AS s ON s.client_id = x.client_id
CROSS JOIN bounds AS b
WHERE x.start_day >= b.floor_day AND x.day < b.until_day
  AND x.client_id BETWEEN (SELECT MIN(client_id) FROM scope) AND (SELECT MAX(client_id) FROM scope)
GROUP BY 1, 2, 3
