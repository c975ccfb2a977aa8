"""segment_customers: who belongs together, why, what sets them apart, who moved."""
