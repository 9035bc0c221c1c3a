"""What schedules do before anything is trained: the bound of convex optimization, and a law fitted to other runs."""
