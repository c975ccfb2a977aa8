-- Per customer, starting day and day: sessions begun, and the seconds that this day added to their length.
-- Few sessions last beyond their first day: only those are held against their day before.
WITH days AS (
  SELECT s.k, x.user_id, x.session_start, COALESCE(x.session_id, '') AS session_id, x.start_day, x.day,
    CAST(x.seconds AS BIGINT) AS seconds
  FROM sessions AS x
  JOIN scope AS s ON s.client_id = x.client_id
  CROSS JOIN bounds AS b
  WHERE x.start_day >= b.floor_day AND x.day < b.until_day
    AND x.client_id BETWEEN (SELECT MIN(client_id) FROM scope) AND (SELECT MAX(client_id) FROM scope)
), later AS (
  SELECT k, user_id, session_start, session_id, start_day, day, seconds,
    LAG(seconds) OVER (PARTITION BY k, user_id, session_start, session_id ORDER BY day) AS earlier
  FROM days
  WHERE day > start_day
), steps AS (
  SELECT k, start_day, day, 1 AS begun, seconds AS added
  FROM days
  WHERE day = start_day
  UNION ALL
  SELECT l.k, l.start_day, l.day, 0 AS begun, l.seconds - COALESCE(l.earlier, f.seconds) AS added
  FROM later AS l
  JOIN days AS f ON f.k = l.k AND f.user_id = l.user_id AND f.session_start = l.session_start
    AND f.session_id = l.session_id AND f.day = f.start_day
)
SELECT
  k,
  DATEDIFF('day', DATE '1970-01-01', start_day) AS start_day,
  DATEDIFF('day', DATE '1970-01-01', day) AS day,
  SUM(CAST(begun AS BIGINT)) AS sessions,
  SUM(CAST(added AS BIGINT)) AS seconds
FROM steps
GROUP BY 1, 2, 3
