-- The imported changes of stage as they were given, by customer and order of effect.
SELECT client_id, stage, effective_at, effective_day, recorded_at, reason, automated, actor
FROM imported_stage_changes
ORDER BY client_id, effective_at, recorded_at NULLS FIRST, stage
