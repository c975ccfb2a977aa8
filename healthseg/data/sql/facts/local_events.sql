-- The window's events with the account's own clock beside UTC; a calendar day without a time stays that day.
-- in: window_events, account_offsets(client_id, from_epoch, until_epoch, offset_seconds)
SELECT
  e.client_id, e.user_id, e.feature, e.session_id, e.api, e.person, e.n, e.duration_seconds, e.has_time, e.occurred_at, e.epoch,
  CASE WHEN e.has_time THEN e.epoch + o.offset_seconds ELSE e.epoch END AS local_epoch,
  e.single, e.row_hash, e.file
FROM window_events AS e
JOIN account_offsets AS o
  ON o.client_id = e.client_id AND e.epoch >= o.from_epoch AND e.epoch < o.until_epoch
