-- Per day of UTC: person events of the whole portfolio, to tell days that were never loaded from quiet ones.
SELECT
  DATEDIFF('day', DATE '1970-01-01', hour_utc) AS utc_day,
  SUM(CAST(events AS BIGINT)) AS person_events
FROM user_hour
GROUP BY 1
ORDER BY 1
