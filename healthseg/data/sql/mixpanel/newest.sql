-- Each exported event once: of those with the same event_key on a day, the one that was taken in last.
-- in: exported(day, event_key, processed_ms, place, and the columns of events)
SELECT
  client_id, occurred_at, user_id, feature, event, session_id, source
FROM (
  SELECT
    client_id, occurred_at, user_id, feature, event, session_id, source,
    ROW_NUMBER() OVER (
      PARTITION BY day, event_key ORDER BY processed_ms DESC NULLS LAST, place DESC) AS newest
  FROM exported
) AS numbered
WHERE newest = 1
