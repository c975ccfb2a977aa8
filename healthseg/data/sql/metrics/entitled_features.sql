-- Per customer and entitlement to a listed feature: the days in which the customer could have used it.
SELECT
  s.k,
  f.feature,
  DATEDIFF('day', DATE '1970-01-01', f.released_on) AS released_day,
  DATEDIFF('day', DATE '1970-01-01', e.starts_on) AS starts_day,
  DATEDIFF('day', DATE '1970-01-01', e.ends_on) AS ends_day
FROM entitlements AS e
JOIN scope AS s ON s.client_id = e.client_id
JOIN features AS f ON f.feature = e.feature
