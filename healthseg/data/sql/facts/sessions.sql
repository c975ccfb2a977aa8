-- Per session and account-local day that it touches: its start, its length by the end of that day, what the day added to
-- it, that day's events.
-- A session is a session_id of a user; without one, a gap of more than gap_seconds begins the next. A session_id that
-- comes back after more than a day is a new session, so that a month needs no more than the day before it.
-- Only the first event of a session and the last of each of its days matter; `running` numbers a user's events.
-- An event without a session_id begins none on a day of a user whose other events have one, or on the day after: it may
-- belong to one of those.
-- in: local_events, bounds(first_epoch, until_epoch of local time, gap_seconds)
WITH named AS (
  SELECT e.client_id, e.user_id, e.local_epoch // 86400 AS day_number
  FROM local_events AS e
  WHERE e.person AND e.n > 0 AND e.has_time AND e.user_id IS NOT NULL AND e.session_id IS NOT NULL
  UNION
  SELECT e.client_id, e.user_id, e.local_epoch // 86400 + 1
  FROM local_events AS e
  WHERE e.person AND e.n > 0 AND e.has_time AND e.user_id IS NOT NULL AND e.session_id IS NOT NULL
), timed AS (
  SELECT
    e.client_id, e.user_id, e.session_id, e.occurred_at, e.epoch,
    e.local_epoch // 86400 AS day_number,
    COALESCE(CAST(FLOOR(e.duration_seconds) AS BIGINT), 0) AS lasting,
    e.n,
    CASE WHEN e.session_id IS NULL AND b.gap_seconds < 86400 THEN b.gap_seconds ELSE 86400 END AS longest_gap
  FROM local_events AS e
  CROSS JOIN bounds AS b
  LEFT JOIN named AS k
    ON e.session_id IS NULL AND k.client_id = e.client_id AND k.user_id = e.user_id AND k.day_number = e.local_epoch // 86400
  WHERE e.person AND e.n > 0 AND e.has_time AND e.user_id IS NOT NULL AND (e.session_id IS NOT NULL OR k.client_id IS NULL)
), neighbours AS (
  SELECT
    client_id, user_id, session_id, occurred_at, epoch, day_number, lasting, longest_gap,
    LAG(epoch) OVER (PARTITION BY client_id, user_id, session_id ORDER BY epoch NULLS FIRST, lasting NULLS FIRST) AS previous,
    LEAD(epoch) OVER (PARTITION BY client_id, user_id, session_id ORDER BY epoch NULLS FIRST, lasting NULLS FIRST) AS following,
    LEAD(day_number) OVER (
      PARTITION BY client_id, user_id, session_id ORDER BY epoch NULLS FIRST, lasting NULLS FIRST) AS following_day,
    CAST(SUM(CAST(n AS BIGINT)) OVER (
      PARTITION BY client_id, user_id, session_id ORDER BY epoch NULLS FIRST, lasting NULLS FIRST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT) AS running
  FROM timed
), marked AS (
  SELECT
    client_id, user_id, session_id, occurred_at, epoch, day_number, lasting, running,
    previous IS NULL OR epoch - previous > longest_gap AS begins,
    following IS NULL OR following - epoch > longest_gap OR following_day <> day_number AS ends
  FROM neighbours
), edges AS (
  SELECT
    client_id, user_id, session_id, epoch, day_number, lasting, running, ends,
    MAX(CASE WHEN begins THEN occurred_at END) OVER (
      PARTITION BY client_id, user_id, session_id ORDER BY running NULLS FIRST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS began_at,
    MAX(CASE WHEN begins THEN epoch END) OVER (
      PARTITION BY client_id, user_id, session_id ORDER BY running NULLS FIRST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS began_epoch,
    MAX(CASE WHEN begins THEN day_number END) OVER (
      PARTITION BY client_id, user_id, session_id ORDER BY running NULLS FIRST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS began_day,
    MAX(CASE WHEN ends THEN running END) OVER (
      PARTITION BY client_id, user_id, session_id ORDER BY running NULLS FIRST
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS counted_before
  FROM marked
  WHERE begins OR ends
), days AS (
  SELECT
    client_id, user_id, session_id, began_at, began_day, day_number,
    epoch + lasting - began_epoch AS seconds,
    running - COALESCE(counted_before, 0) AS events,
    LAG(epoch + lasting - began_epoch) OVER (
      PARTITION BY client_id, user_id, session_id, began_epoch ORDER BY running NULLS FIRST) AS seconds_before
  FROM edges
  WHERE ends
)
SELECT
  s.client_id,
  s.user_id,
  s.session_id,
  DATE_TRUNC('second', s.began_at) AS session_start,
  DATE '1970-01-01' + CAST(s.began_day AS INTEGER) AS start_day,
  DATE '1970-01-01' + CAST(s.day_number AS INTEGER) AS day,
  s.seconds,
  s.seconds - COALESCE(s.seconds_before, 0) AS added_seconds,
  s.events
FROM days AS s
CROSS JOIN bounds AS b
WHERE s.day_number * 86400 >= b.first_epoch AND s.day_number * 86400 < b.until_epoch
