-- Per customer and day: how many users were active, by the day on which they were active next.
-- A user is counted in a window of any length from that day on, until the length or the next day ends it.
WITH days AS (
  SELECT s.k, u.user_id, DATEDIFF('day', DATE '1970-01-01', u.day) AS day
  FROM user_day AS u
  JOIN scope AS s ON s.client_id = u.client_id
  CROSS JOIN bounds AS b
  WHERE u.events > 0 AND u.user_id IS NOT NULL
    AND u.day >= b.floor_day
    AND u.day < b.until_day
    AND u.client_id BETWEEN (SELECT MIN(client_id) FROM scope) AND (SELECT MAX(client_id) FROM scope)
), spells AS (
  SELECT k, day, LEAD(day) OVER (PARTITION BY k, user_id ORDER BY day) AS following
  FROM days
)
SELECT k, day, following, COUNT(*) AS n
FROM spells
GROUP BY 1, 2, 3
