-- Per customer: the ARR that each table states last by the portfolio's last day, and whether the customer is live.
WITH changes AS (
  SELECT a.client_id, COALESCE(a.arr, 0) AS arr, ROW_NUMBER() OVER (
    PARTITION BY a.client_id ORDER BY a.effective_on DESC, COALESCE(a.recorded_day, a.effective_on) DESC, a.recorded_at DESC NULLS LAST) AS place
  FROM arr_changes AS a
  CROSS JOIN portfolio_day AS b
  WHERE a.effective_on <= b.day AND COALESCE(a.recorded_day, a.effective_on) <= b.day
), other AS (
  SELECT c.client_id, TRY_CAST(c.value AS DOUBLE) AS arr, ROW_NUMBER() OVER (
    PARTITION BY c.client_id ORDER BY c.effective_on DESC, COALESCE(c.recorded_day, c.effective_on) DESC, c.recorded_at DESC NULLS LAST) AS place
  FROM customer_changes AS c
  CROSS JOIN portfolio_day AS b
  WHERE c.field = 'arr' AND c.effective_on <= b.day AND COALESCE(c.recorded_day, c.effective_on) <= b.day
)
SELECT s.k, a.arr AS arr_changes, o.arr AS customer_changes, m.arr AS customers,
  COALESCE(m.churned_on > b.day, TRUE) AND COALESCE(a.arr > 0, TRUE) AS live
FROM scope AS s
JOIN customers AS m ON m.client_id = s.client_id
CROSS JOIN portfolio_day AS b
LEFT JOIN changes AS a ON a.client_id = s.client_id AND a.place = 1
LEFT JOIN other AS o ON o.client_id = s.client_id AND o.place = 1
ORDER BY s.k
