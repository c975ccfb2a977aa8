-- Per customer and user, listed or seen: the first day with a person event, when it was created and deactivated.
-- in: excluded(user_id, email_domain): internal and test users, of whom no event is counted either
WITH seen AS (
  SELECT s.k, u.user_id, MIN(DATEDIFF('day', DATE '1970-01-01', u.day)) AS first_day
  FROM user_day AS u
  JOIN scope AS s ON s.client_id = u.client_id
  WHERE u.events > 0 AND u.user_id IS NOT NULL
  GROUP BY 1, 2
), listed AS (
  SELECT s.k, u.user_id,
    DATEDIFF('day', DATE '1970-01-01', u.created_day) AS created_day,
    DATEDIFF('day', DATE '1970-01-01', u.deactivated_day) AS deactivated_day
  FROM users AS u
  JOIN scope AS s ON s.client_id = u.client_id
  LEFT JOIN excluded AS n ON n.user_id = u.user_id
  LEFT JOIN excluded AS d ON d.email_domain = LOWER(u.email_domain)
  WHERE n.user_id IS NULL AND d.email_domain IS NULL
)
SELECT
  COALESCE(a.k, b.k) AS k,
  COALESCE(CAST(a.user_id AS VARCHAR), b.user_id) AS user_id,
  a.first_day,
  b.created_day,
  b.deactivated_day,
  b.user_id IS NOT NULL AS listed
FROM seen AS a
FULL OUTER JOIN listed AS b ON b.k = a.k AND b.user_id = CAST(a.user_id AS VARCHAR)
