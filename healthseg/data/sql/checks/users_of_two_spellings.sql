-- Customers of whom two users have ids that differ in upper and lower case alone.
SELECT DISTINCT u.client_id
FROM (SELECT DISTINCT client_id, user_id FROM user_day) AS u
GROUP BY u.client_id, LOWER(u.user_id)
HAVING COUNT(u.user_id) > 1
