-- Per day: person events of the whole book.
SELECT DATEDIFF('day', DATE '1970-01-01', u.day) AS day, SUM(CAST(u.events AS BIGINT)) AS person_events
FROM user_day AS u
GROUP BY 1
ORDER BY 1
