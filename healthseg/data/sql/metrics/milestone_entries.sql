-- Per customer and milestone: what was entered by hand, as account-local days since 1970; the moment of completion where
-- it has a time. Without ``milestone_progress`` there are no rows.
SELECT
  client_id,
  milestone_id,
  DATEDIFF('day', DATE '1970-01-01', started_day) AS started_day,
  DATEDIFF('day', DATE '1970-01-01', completed_day) AS completed_day,
  CASE WHEN completed_has_time THEN completed_at END AS completed_at,
  DATEDIFF('day', DATE '1970-01-01', skipped_day) AS skipped_day,
  blocker,
  DATEDIFF('day', DATE '1970-01-01', blocked_since_day) AS blocked_day,
  DATEDIFF('day', DATE '1970-01-01', blocker_cleared_day) AS cleared_day,
  owner
FROM milestone_progress
ORDER BY client_id, milestone_id
