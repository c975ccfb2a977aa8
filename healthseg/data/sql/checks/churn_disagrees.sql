-- Customers of whom one table says that they are gone and another, which would know, says something else.
WITH ended AS (
  SELECT a.client_id, MAX(a.effective_on) AS day
  FROM arr_changes AS a
  CROSS JOIN portfolio_day AS b
  WHERE a.effective_on <= b.day AND (a.reason = 'churn' OR a.arr = 0)
  GROUP BY a.client_id
), staged AS (
  SELECT g.client_id, MAX(g.effective_day) AS day
  FROM stage_changes AS g
  CROSS JOIN portfolio_day AS b
  WHERE g.effective_day <= b.day AND g.stage = 'churned'
  GROUP BY g.client_id
)
SELECT c.client_id
FROM customers AS c
CROSS JOIN portfolio_day AS b
LEFT JOIN ended AS e ON e.client_id = c.client_id
LEFT JOIN staged AS s ON s.client_id = c.client_id
WHERE (c.churned_on IS NULL OR c.churned_on > b.day) AND (e.day IS NOT NULL OR s.day IS NOT NULL)
  OR c.churned_on <= b.day AND (e.day <> c.churned_on OR s.day <> c.churned_on)
