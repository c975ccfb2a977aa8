-- Per customer and asked feature: the first users, in the order of the days on which each first used it.
-- in: scope(k, client_id, until_day), asked(feature, users): users is what the milestone that asks for most asks for
WITH ranked AS (
  SELECT s.k, f.feature, a.users, DATEDIFF('day', DATE '1970-01-01', f.first_day) AS day,
    ROW_NUMBER() OVER (PARTITION BY s.k, f.feature ORDER BY f.first_day, f.user_id) AS nth
  FROM feature_life AS f
  JOIN scope AS s ON s.client_id = f.client_id
  JOIN asked AS a ON a.feature = f.feature
  WHERE f.user_id IS NOT NULL AND DATEDIFF('day', DATE '1970-01-01', f.first_day) <= s.until_day
)
SELECT k, feature, nth, day FROM ranked WHERE nth <= users ORDER BY k, feature, nth
