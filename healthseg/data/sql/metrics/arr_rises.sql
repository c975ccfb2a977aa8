-- Per customer: the days on which its ARR rose, by its reason or by the figure.
WITH ordered AS (
  SELECT s.k, a.effective_on, a.arr, a.reason,
    LAG(a.arr) OVER (PARTITION BY s.k ORDER BY a.effective_on, a.arr) AS earlier
  FROM arr_changes AS a
  JOIN scope AS s ON s.client_id = a.client_id
)
SELECT k, DATEDIFF('day', DATE '1970-01-01', effective_on) AS day
FROM ordered
WHERE reason = 'expansion' OR (earlier IS NOT NULL AND arr > earlier AND earlier > 0)
GROUP BY 1, 2
ORDER BY 1, 2
