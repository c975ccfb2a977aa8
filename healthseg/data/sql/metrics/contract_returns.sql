-- Per customer that left: the first contract that began after it, as it was signed by ``until_day``.
-- in: bounds(until_day): the first day that is not read
SELECT c.client_id, MIN(DATEDIFF('day', DATE '1970-01-01', c.starts_on)) AS day
FROM contracts AS c
JOIN customers AS m ON m.client_id = c.client_id
CROSS JOIN bounds AS b
WHERE c.starts_on > m.churned_on AND c.starts_on < b.until_day AND (c.signed_on IS NULL OR c.signed_on < b.until_day)
GROUP BY 1
ORDER BY 1
