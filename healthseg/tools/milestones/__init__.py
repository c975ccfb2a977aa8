"""track_adoption_milestones: how far has a customer come, what is late, what blocks, when will it be done?"""
