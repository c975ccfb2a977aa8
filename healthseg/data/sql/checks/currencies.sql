-- The currencies of each customer's amounts on the portfolio's last day: its own, and those of contracts in force.
SELECT client_id, currency FROM customers WHERE currency IS NOT NULL
UNION
SELECT c.client_id, c.currency
FROM contracts AS c
CROSS JOIN portfolio_day AS b
WHERE c.currency IS NOT NULL AND c.starts_on <= b.day AND (c.ends_on IS NULL OR c.auto_renews OR c.ends_on >= b.day)
ORDER BY 1, 2
