"""The configuration: composed, checked and built, all without torch."""
