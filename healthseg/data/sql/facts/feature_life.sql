-- Per customer, user and feature: its first and last day within the month. in: feature_day_rows, the month's feature_day
SELECT client_id, user_id, feature, MIN(day) AS first_day, MAX(day) AS last_day
FROM feature_day_rows
GROUP BY 1, 2, 3
