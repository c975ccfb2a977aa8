-- Contents of messages where they are too many or too long to be categories.
WITH contents AS (
  SELECT DISTINCT content FROM messages
), sizes AS (
  SELECT COUNT(*) AS n, MAX(LENGTH(content)) AS longest FROM contents
)
SELECT c.content AS client_id
FROM contents AS c
CROSS JOIN sizes AS s
WHERE s.n > 50 OR s.longest > 60
