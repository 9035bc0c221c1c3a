"""Training a network under a schedule with Lightning."""
