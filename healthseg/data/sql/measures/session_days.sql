-- Per customer, starting day and day: sessions begun, and the seconds that this day added to their length.
WITH steps AS (
  SELECT
    s.k,
    DATEDIFF('day', DATE '1970-01-01', x.start_day) AS start_day,
    DATEDIFF('day', DATE '1970-01-01', x.day) AS day,
    CAST(x.seconds AS BIGINT)
      - COALESCE(LAG(CAST(x.seconds AS BIGINT)) OVER (PARTITION BY s.k, x.user_id, x.session_start, x.session_id ORDER BY x.day), 0) AS added
  FROM sessions AS x
  JOIN scope AS s ON s.client_id = x.client_id
  CROSS JOIN bounds AS b
  WHERE DATEDIFF('day', DATE '1970-01-01', x.start_day) >= b.floor_day
    AND DATEDIFF('day', DATE '1970-01-01', x.day) < b.until_day
)
SELECT
  k,
  start_day,
  day,
  COUNT(CASE WHEN day = start_day THEN 1 END) AS sessions,
  SUM(CAST(added AS BIGINT)) AS seconds
FROM steps
GROUP BY 1, 2, 3
