-- Per customer, user and hour: person events that have a time of day, by UTC hour with the local day and hour beside it.
SELECT
  client_id,
  user_id,
  DATE_TRUNC('hour', occurred_at) AS hour_utc,
  DATE '1970-01-01' + CAST(local_epoch // 86400 AS INTEGER) AS day,
  CAST((local_epoch % 86400) // 3600 AS TINYINT) AS hour,
  CAST(SUM(CAST(n AS BIGINT)) AS BIGINT) AS events
FROM month_events
WHERE person AND n > 0 AND has_time
GROUP BY 1, 2, 3, 4, 5
