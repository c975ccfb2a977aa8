-- One row where any event of the book has a time of day.
SELECT 1 AS any_hour FROM user_hour LIMIT 1
