"""segment_customers: which customers belong together, what sets them apart, who moved, what works."""
