-- Per customer: the days on which its ARR rose, by its reason or by the figure; of one day's changes the last recorded.
WITH versions AS (
  SELECT s.k, a.effective_on, a.arr, a.reason,
    ROW_NUMBER() OVER (
      PARTITION BY s.k, a.effective_on ORDER BY COALESCE(a.recorded_day, a.effective_on) DESC, a.recorded_at DESC NULLS LAST) AS place
  FROM arr_changes AS a
  JOIN scope AS s ON s.client_id = a.client_id
), ordered AS (
  SELECT k, effective_on, arr, reason, LAG(arr) OVER (PARTITION BY k ORDER BY effective_on) AS earlier
  FROM versions
  WHERE place = 1
)
SELECT k, DATEDIFF('day', DATE '1970-01-01', effective_on) AS day
FROM ordered
WHERE (reason = 'expansion' AND NOT COALESCE(arr < earlier, FALSE)) OR (earlier IS NOT NULL AND arr > earlier AND earlier > 0)
GROUP BY 1, 2
ORDER BY 1, 2
