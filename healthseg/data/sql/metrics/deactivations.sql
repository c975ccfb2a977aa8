-- The customers' users and the day on which each was deactivated.
SELECT s.k, u.user_id, DATEDIFF('day', DATE '1970-01-01', u.deactivated_day) AS day
FROM users AS u
JOIN scope AS s ON s.client_id = u.client_id
WHERE u.deactivated_day IS NOT NULL
