"""segment_by_value_tier: what customers are worth, what serving them takes, what may churn or grow."""
