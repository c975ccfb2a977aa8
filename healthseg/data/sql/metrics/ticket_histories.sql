-- Per ticket, in the order of opening: topic, user, the days of opening and of resolution, and (where both ends have times)
-- the seconds between; the seconds since 1970 at which it was opened, to censor those still open.
SELECT
  s.k,
  t.ticket_id,
  t.topic,
  t.user_id,
  DATEDIFF('day', DATE '1970-01-01', t.opened_day) AS opened_day,
  DATEDIFF('day', DATE '1970-01-01', t.resolved_day) AS resolved_day,
  CASE WHEN t.opened_has_time THEN DATEDIFF('second', TIMESTAMP '1970-01-01 00:00:00', t.opened_at) END AS opened_second,
  CASE WHEN t.opened_has_time AND t.resolved_has_time THEN DATEDIFF('second', t.opened_at, t.resolved_at) END AS seconds
FROM tickets AS t
JOIN scope AS s ON s.client_id = t.client_id
ORDER BY s.k, t.opened_at NULLS FIRST, t.opened_day, t.ticket_id
