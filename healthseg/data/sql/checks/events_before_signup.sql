-- Customers with a person event or an API call before the day on which they signed up.
SELECT DISTINCT u.client_id
FROM user_day AS u
JOIN customers AS c ON c.client_id = u.client_id
WHERE u.day < c.signup_date
