-- Per customer, user and account-local day: person events, API calls and events of other sources. Events without a user
-- are one row a day; a count of zero is no event.
SELECT
  client_id,
  user_id,
  DATE '1970-01-01' + CAST(local_epoch // 86400 AS INTEGER) AS day,
  CAST(SUM(CASE WHEN person THEN CAST(n AS BIGINT) ELSE 0 END) AS BIGINT) AS events,
  CAST(SUM(CASE WHEN api THEN CAST(n AS BIGINT) ELSE 0 END) AS BIGINT) AS api_events,
  CAST(SUM(CASE WHEN person OR api THEN 0 ELSE CAST(n AS BIGINT) END) AS BIGINT) AS other_events
FROM month_events
WHERE n > 0
GROUP BY 1, 2, 3
