"""The command lines. Each is a function that takes the folder of the configuration."""
