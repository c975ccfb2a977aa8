-- Per customer, channel and content: messages sent within the days of bounds, how many were opened and how many clicked, and
-- how many of them within a week (day by day) of sending; of answers only those known by the last day.
SELECT
  m.client_id,
  m.channel,
  m.content,
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
GROUP BY m.client_id, m.channel, m.content
ORDER BY m.client_id, m.channel, m.content
