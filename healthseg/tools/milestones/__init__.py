"""track_adoption_milestones: how far a customer is, what is late, what blocks, when it is completed."""
