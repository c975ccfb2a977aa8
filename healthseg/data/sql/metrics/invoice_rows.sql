-- The customers' invoices: days, and the amount in hundredths of its currency, and what was paid of it.
SELECT s.k, i.invoice_id,
  DATEDIFF('day', DATE '1970-01-01', i.issued_on) AS issued_day,
  DATEDIFF('day', DATE '1970-01-01', i.due_on) AS due_day,
  DATEDIFF('day', DATE '1970-01-01', i.paid_on) AS paid_day,
  CAST(CAST(i.amount AS DECIMAL(18, 2)) * 100 AS BIGINT) AS hundredths,
  CAST(CAST(i.paid_amount AS DECIMAL(18, 2)) * 100 AS BIGINT) AS paid_hundredths
FROM invoices AS i
JOIN scope AS s ON s.client_id = i.client_id
ORDER BY s.k, i.due_on, i.invoice_id
