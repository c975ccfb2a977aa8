-- Per customer and day: NPS answers by kind and by the day of the same respondent's next answer.
-- An answer without a user counts by itself; of several by one user on one day the last stands, the others end at once.
WITH answers AS (
  SELECT s.k, a.user_id, DATEDIFF('day', DATE '1970-01-01', a.responded_day) AS day, a.score,
    ROW_NUMBER() OVER (
      PARTITION BY s.k, a.user_id, a.responded_day ORDER BY a.responded_at DESC, a.score DESC) AS place
  FROM surveys AS a
  JOIN scope AS s ON s.client_id = a.client_id
  WHERE a.kind = 'nps'
), spells AS (
  SELECT k, day, score, user_id,
    CASE WHEN user_id IS NULL THEN NULL WHEN place > 1 THEN day
      ELSE LEAD(day) OVER (PARTITION BY k, user_id, CASE WHEN place = 1 THEN 1 ELSE 2 END ORDER BY day) END AS following
  FROM answers
)
SELECT k, day, following, COUNT(*) AS n,
  COUNT(CASE WHEN score >= 9 THEN 1 END) AS promoters,
  COUNT(CASE WHEN score <= 6 THEN 1 END) AS detractors,
  COUNT(CASE WHEN user_id IS NULL THEN 1 END) AS anonymous,
  (SELECT COUNT(user_id) FROM surveys WHERE kind = 'nps') AS named, (SELECT COUNT(*) FROM surveys WHERE kind = 'nps') AS stated
FROM spells
GROUP BY 1, 2, 3
