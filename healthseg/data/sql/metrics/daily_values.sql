-- Per metric, day and customer: the last value of metrics_daily that was known by the end of the day, at most so many days old.
WITH known AS (
  SELECT w.metric, w.day, m.client_id, m.value,
    ROW_NUMBER() OVER (
      PARTITION BY w.metric, w.day, m.client_id
      ORDER BY m.date DESC, COALESCE(m.recorded_day, m.date) DESC, m.recorded_at DESC NULLS LAST, m.value DESC NULLS LAST) AS place
  FROM wanted AS w
  JOIN metrics_daily AS m ON m.metric = w.metric AND m.date <= w.day AND m.date >= w.first_day
  WHERE COALESCE(m.recorded_day, m.date) <= w.day
)
SELECT metric, day, client_id, value
FROM known
WHERE place = 1
ORDER BY 1, 2, 3
