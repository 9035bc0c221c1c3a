"""Where schedules meet the optimizers of other libraries."""
