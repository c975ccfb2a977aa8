-- Per resolved ticket with times at both ends: the day of its resolution and the seconds that it took.
SELECT s.k, DATEDIFF('day', DATE '1970-01-01', t.resolved_day) AS day,
  DATEDIFF('second', t.opened_at, t.resolved_at) AS seconds
FROM tickets AS t
JOIN scope AS s ON s.client_id = t.client_id
WHERE t.resolved_at IS NOT NULL AND t.opened_has_time AND t.resolved_has_time
ORDER BY 1, 2, 3
