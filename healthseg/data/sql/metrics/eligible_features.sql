-- Per customer and listed feature: the days [from_day, until_day) in which the customer could have used it.
SELECT
  s.k,
  f.feature,
  DATEDIFF('day', DATE '1970-01-01', f.released_on) AS released_day,
  CAST(NULL AS INTEGER) AS starts_day,
  CAST(NULL AS INTEGER) AS ends_day
FROM features AS f
CROSS JOIN scope AS s
