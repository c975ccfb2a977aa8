-- Per customer, user, feature and account-local day: person events.
SELECT
  client_id,
  user_id,
  feature,
  DATE '1970-01-01' + CAST(local_epoch // 86400 AS INTEGER) AS day,
  CAST(SUM(CAST(n AS BIGINT)) AS BIGINT) AS events
FROM month_events
WHERE person AND n > 0 AND feature IS NOT NULL
GROUP BY 1, 2, 3, 4
