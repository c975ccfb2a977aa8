-- Per customer and date: the contract of that date (signed by then; of several the one that began last).
-- A contract that names no renewal renews when it ends, unless it is one of those that roll on from month to month.
-- in: moments(k, day)
WITH ranked AS (
  SELECT m.k, m.day, c.arr, c.seats, c.plan, c.currency, DATEDIFF('day', DATE '1970-01-01', c.starts_on) AS from_day,
    DATEDIFF('day', DATE '1970-01-01', CASE
      WHEN c.renews_on IS NOT NULL THEN c.renews_on
      WHEN DATEDIFF('day', c.starts_on, c.ends_on) >= 60 THEN c.ends_on
      END) AS renewal_day,
    CAST(DATEDIFF('day', c.starts_on, c.ends_on) AS DOUBLE) AS term_days,
    CASE WHEN c.auto_renews THEN 1.0 WHEN NOT c.auto_renews THEN 0.0 END AS auto_renews,
    ROW_NUMBER() OVER (
      PARTITION BY m.k, m.day ORDER BY c.starts_on DESC, c.ends_on DESC, c.arr DESC, c.seats DESC, c.plan DESC) AS place
  FROM moments AS m
  JOIN scope AS s ON s.k = m.k
  JOIN contracts AS c ON c.client_id = s.client_id
  WHERE DATEDIFF('day', DATE '1970-01-01', c.starts_on) <= m.day
    AND (c.ends_on IS NULL OR DATEDIFF('day', DATE '1970-01-01', c.ends_on) > m.day)
    AND (c.signed_on IS NULL OR DATEDIFF('day', DATE '1970-01-01', c.signed_on) <= m.day)
)
SELECT k, day, arr, seats, plan, currency, renewal_day, term_days, auto_renews, from_day FROM ranked WHERE place = 1
