-- Customers of whom one table says that they are gone and another, which would know, says something else; those that were
-- won back are none of them.
WITH changes AS (
  SELECT a.client_id, a.effective_on, COALESCE(a.arr, 0) AS arr, ROW_NUMBER() OVER (
    PARTITION BY a.client_id ORDER BY a.effective_on DESC, COALESCE(a.recorded_day, a.effective_on) DESC, a.recorded_at DESC NULLS LAST) AS place
  FROM arr_changes AS a
  CROSS JOIN portfolio_day AS b
  WHERE a.effective_on <= b.day AND COALESCE(a.recorded_day, a.effective_on) <= b.day
), stages AS (
  SELECT g.client_id, g.effective_day, g.stage, ROW_NUMBER() OVER (
    PARTITION BY g.client_id ORDER BY g.effective_at DESC, g.recorded_at DESC NULLS LAST, g.stage DESC) AS place
  FROM stage_changes AS g
  CROSS JOIN portfolio_day AS b
  WHERE g.effective_day <= b.day
), returns AS (
  SELECT client_id, MAX(starts_on) AS day
  FROM contracts
  CROSS JOIN portfolio_day AS b
  WHERE starts_on <= b.day
  GROUP BY client_id
)
SELECT c.client_id
FROM customers AS c
CROSS JOIN portfolio_day AS b
LEFT JOIN changes AS e ON e.client_id = c.client_id AND e.place = 1
LEFT JOIN stages AS s ON s.client_id = c.client_id AND s.place = 1
LEFT JOIN returns AS r ON r.client_id = c.client_id
WHERE (c.churned_on IS NULL OR c.churned_on > b.day) AND (e.arr = 0 OR s.stage = 'churned')
  AND NOT COALESCE(r.day >= GREATEST(COALESCE(e.effective_on, r.day), COALESCE(s.effective_day, r.day)), FALSE)
  OR c.churned_on <= b.day AND NOT COALESCE(r.day >= c.churned_on, FALSE)
  AND (e.arr = 0 AND e.effective_on <> c.churned_on OR s.stage = 'churned' AND s.effective_day <> c.churned_on)
