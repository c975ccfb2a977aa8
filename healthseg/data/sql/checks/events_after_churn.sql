-- Customers with events on or after the day on which they were gone.
SELECT DISTINCT u.client_id
FROM user_day AS u
JOIN customers AS c ON c.client_id = u.client_id
WHERE u.day >= c.churned_on
