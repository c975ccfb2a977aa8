-- The stages that customers entered, by account-local day.
SELECT client_id, effective_day, stage
FROM stage_changes
ORDER BY client_id, effective_at, stage
