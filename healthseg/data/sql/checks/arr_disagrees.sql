-- Live customers whose ARR on the portfolio's last day differs between its sources.
WITH changes AS (
  SELECT a.client_id, a.arr, ROW_NUMBER() OVER (PARTITION BY a.client_id ORDER BY a.effective_on DESC, a.arr DESC) AS place
  FROM arr_changes AS a
  CROSS JOIN portfolio_day AS b
  WHERE a.effective_on <= b.day
), running AS (
  SELECT c.client_id, c.arr, ROW_NUMBER() OVER (
    PARTITION BY c.client_id ORDER BY c.starts_on DESC, c.ends_on DESC, c.arr DESC) AS place
  FROM contracts AS c
  CROSS JOIN portfolio_day AS b
  WHERE c.starts_on <= b.day AND (c.ends_on IS NULL OR c.ends_on > b.day)
), sources AS (
  SELECT client_id, arr FROM changes WHERE place = 1
  UNION ALL
  SELECT client_id, arr FROM running WHERE place = 1
  UNION ALL
  SELECT client_id, arr FROM customers WHERE arr IS NOT NULL
)
SELECT s.client_id
FROM sources AS s
JOIN customers AS c ON c.client_id = s.client_id
CROSS JOIN portfolio_day AS b
WHERE c.churned_on IS NULL OR c.churned_on > b.day
GROUP BY s.client_id
HAVING MAX(CAST(s.arr AS DECIMAL(18, 2))) > MIN(CAST(s.arr AS DECIMAL(18, 2)))
