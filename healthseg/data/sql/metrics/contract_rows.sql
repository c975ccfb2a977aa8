-- The customers' contracts in days since 1970, each from the day on which it was known, in an order that no file order changes.
SELECT s.k, c.contract_id, c.replaces, c.plan, c.currency, c.arr, CAST(c.seats AS DOUBLE) AS seats, c.list_price,
  CASE WHEN c.auto_renews THEN 1.0 WHEN NOT c.auto_renews THEN 0.0 END AS auto_renews,
  DATEDIFF('day', DATE '1970-01-01', c.starts_on) AS starts,
  CAST(DATEDIFF('day', DATE '1970-01-01', c.ends_on) AS DOUBLE) AS ends,
  CAST(DATEDIFF('day', DATE '1970-01-01', c.renews_on) AS DOUBLE) AS renews,
  DATEDIFF('day', DATE '1970-01-01', COALESCE(c.recorded_day, c.signed_on, c.starts_on)) AS known,
  (SELECT COUNT(contract_id) FROM contracts) AS named, (SELECT COUNT(*) FROM contracts) AS stated
FROM contracts AS c
JOIN scope AS s ON s.client_id = c.client_id
ORDER BY s.k, c.starts_on, COALESCE(c.recorded_day, c.signed_on, c.starts_on), c.recorded_at NULLS FIRST, c.ends_on NULLS LAST,
  c.arr, c.seats, c.plan, c.contract_id
