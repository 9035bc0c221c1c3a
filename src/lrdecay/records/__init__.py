"""What runs leave on disk: their records, files, locks, and which runs repeat each other."""
