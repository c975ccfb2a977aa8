-- Per session and account-local day that it touches: its start, its length by the end of that day, that day's events.
-- A session is a session_id of a user; without one, a gap of more than gap_seconds begins the next. A session_id that
-- comes back after more than a day is a new session, so that a month needs no more than the day before it.
-- in: local_events, bounds(first_epoch, until_epoch of local time, gap_seconds)
WITH timed AS (
  SELECT client_id, user_id, session_id, occurred_at, epoch, n,
    local_epoch // 86400 AS day_number,
    COALESCE(CAST(FLOOR(duration_seconds) AS BIGINT), 0) AS lasting,
    LAG(epoch) OVER (PARTITION BY client_id, user_id, session_id ORDER BY epoch NULLS FIRST) AS previous
  FROM local_events
  WHERE NOT api AND has_time AND user_id IS NOT NULL
), begun AS (
  SELECT t.*,
    MAX(CASE
      WHEN t.previous IS NULL THEN t.epoch
      WHEN t.session_id IS NULL AND t.epoch - t.previous > b.gap_seconds THEN t.epoch
      WHEN t.epoch - t.previous > 86400 THEN t.epoch
    END) OVER (
      PARTITION BY t.client_id, t.user_id, t.session_id ORDER BY t.epoch NULLS FIRST
      RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS start_epoch
  FROM timed AS t
  CROSS JOIN bounds AS b
), days AS (
  SELECT client_id, user_id, session_id, start_epoch, day_number,
    MIN(occurred_at) AS first_at,
    MAX(epoch * 1000000 + CASE WHEN lasting > 999999 THEN 999999 ELSE lasting END) AS last_and_lasting,
    CAST(SUM(CAST(n AS BIGINT)) AS BIGINT) AS events
  FROM begun
  GROUP BY 1, 2, 3, 4, 5
), sessions AS (
  SELECT client_id, user_id, session_id, start_epoch, day_number, last_and_lasting, events,
    MIN(first_at) OVER (PARTITION BY client_id, user_id, session_id, start_epoch) AS session_start,
    MIN(day_number) OVER (PARTITION BY client_id, user_id, session_id, start_epoch) AS start_day_number
  FROM days
)
SELECT
  s.client_id,
  s.user_id,
  s.session_id,
  DATE_TRUNC('second', s.session_start) AS session_start,
  DATE '1970-01-01' + CAST(s.start_day_number AS INTEGER) AS start_day,
  DATE '1970-01-01' + CAST(s.day_number AS INTEGER) AS day,
  s.last_and_lasting // 1000000 + s.last_and_lasting % 1000000 - s.start_epoch AS seconds,
  s.events
FROM sessions AS s
CROSS JOIN bounds AS b
WHERE s.day_number * 86400 >= b.first_epoch AND s.day_number * 86400 < b.until_epoch
