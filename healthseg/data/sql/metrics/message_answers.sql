-- Per customer, channel, content and day of sending: messages sent within the days of bounds, how many were opened and how
-- many clicked within a week (day by day) of sending; of answers only those known by the last day.
SELECT
  m.client_id,
  m.channel,
  m.content,
  DATEDIFF('day', DATE '1970-01-01', m.sent_day) AS sent_day,
  COUNT(*) AS sent,
  SUM(CAST(CASE WHEN m.opened_day < m.sent_day + b.within_days AND m.opened_day < b.known_day THEN 1 ELSE 0 END AS BIGINT))
    AS opened,
  SUM(CAST(CASE WHEN m.clicked_day < m.sent_day + b.within_days AND m.clicked_day < b.known_day THEN 1 ELSE 0 END AS BIGINT))
    AS clicked,
  SUM(CAST(CASE
    WHEN m.clicked_day < m.sent_day + b.within_days AND m.clicked_day < b.known_day THEN 1
    WHEN m.channel <> 'email' AND m.opened_day < m.sent_day + b.within_days AND m.opened_day < b.known_day THEN 1
    ELSE 0
  END AS BIGINT)) AS engaged
FROM messages AS m
CROSS JOIN message_bounds AS b
WHERE m.sent_day >= b.floor_day AND m.sent_day < b.until_day
GROUP BY m.client_id, m.channel, m.content, m.sent_day
ORDER BY m.client_id, m.channel, m.content, m.sent_day
