-- Per feature: the first day on which anybody in the portfolio used it (stands in where no features table is given).
SELECT feature, DATEDIFF('day', DATE '1970-01-01', MIN(first_day)) AS first_day
FROM feature_life
GROUP BY 1
ORDER BY 1
