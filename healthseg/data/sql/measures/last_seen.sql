-- Per customer: the days with a person event from floor_day on, and the last one before it.
SELECT
  s.k,
  CASE WHEN DATEDIFF('day', DATE '1970-01-01', u.day) < b.floor_day THEN NULL
       ELSE DATEDIFF('day', DATE '1970-01-01', u.day) END AS day,
  MAX(DATEDIFF('day', DATE '1970-01-01', u.day)) AS seen
FROM user_day AS u
JOIN scope AS s ON s.client_id = u.client_id
CROSS JOIN bounds AS b
WHERE u.events > 0 AND DATEDIFF('day', DATE '1970-01-01', u.day) < b.until_day
GROUP BY 1, 2
