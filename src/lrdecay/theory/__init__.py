"""What schedules do before anything is trained: the bound of convex optimization."""
