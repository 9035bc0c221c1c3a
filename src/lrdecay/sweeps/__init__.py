"""Many runs: their folders, what was there before, where they run, and the comparison at the end."""
