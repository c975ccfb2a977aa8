-- The first day on which an event of the portfolio, a person's or a program's, named a user.
SELECT DATEDIFF('day', DATE '1970-01-01', MIN(day)) AS first_day FROM user_day WHERE user_id IS NOT NULL
