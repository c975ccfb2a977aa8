-- As milestone_users, for customers that came back: the first use of each user from ``from_day`` on.
-- in: scope(k, client_id, from_day, until_day), asked(feature, users)
WITH firsts AS (
  SELECT s.k, f.feature, f.user_id, a.users, MIN(DATEDIFF('day', DATE '1970-01-01', f.day)) AS day
  FROM feature_day AS f
  JOIN scope AS s ON s.client_id = f.client_id
  JOIN asked AS a ON a.feature = f.feature
  WHERE f.events > 0 AND f.user_id IS NOT NULL
    AND DATEDIFF('day', DATE '1970-01-01', f.day) >= s.from_day
    AND DATEDIFF('day', DATE '1970-01-01', f.day) <= s.until_day
  GROUP BY 1, 2, 3, 4
), ranked AS (
  SELECT k, feature, day, users, ROW_NUMBER() OVER (PARTITION BY k, feature ORDER BY day, user_id) AS nth
  FROM firsts
)
SELECT k, feature, nth, day FROM ranked WHERE nth <= users ORDER BY k, feature, nth
