-- Per customer and day of UTC with a person's event; the account's own day of rows without a time.
SELECT DISTINCT client_id, CAST(hour_utc AS DATE) AS day
FROM user_hour
WHERE events > 0
UNION
SELECT u.client_id, u.day
FROM user_day AS u
LEFT JOIN user_hour AS h
  ON h.client_id = u.client_id AND h.day = u.day AND h.user_id IS NOT DISTINCT FROM u.user_id
WHERE u.events > 0 AND h.client_id IS NULL
