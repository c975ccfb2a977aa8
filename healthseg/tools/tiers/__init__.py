"""segment_by_value_tier: who is worth what, what it takes to serve them, what may be lost or won."""
