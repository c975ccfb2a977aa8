-- The first day on which a person event of the portfolio had a time of day.
SELECT DATEDIFF('day', DATE '1970-01-01', MIN(day)) AS first_day FROM user_hour
