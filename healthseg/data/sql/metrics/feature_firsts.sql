-- Per customer, feature and user: the first day on which the user used it (events without a user are one row).
SELECT
  s.k,
  f.feature,
  f.user_id,
  DATEDIFF('day', DATE '1970-01-01', f.first_day) AS first_day
FROM feature_life AS f
JOIN scope AS s ON s.client_id = f.client_id
