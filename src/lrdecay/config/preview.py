"""Learning rates over a run, before it is trained: from a configuration, without data and without torch."""

import numpy as np
from omegaconf import DictConfig

from lrdecay.config.build import build
from lrdecay.config.horizon import horizon
from lrdecay.errors import ConfigError, within
from lrdecay.schedules import RateCurve, Schedule

MOST_STEPS = 1_000_000  # of a longer run as many are evaluated, evenly spread


def rate_curve(label: str, config: DictConfig, steps_per_epoch: int | None = None) -> RateCurve:
    """What a run under this configuration would use; a metric-driven scale is taken to stay at 1.

    Raises:
        ConfigError: a value cannot be used, as in training; but no optimizer is made, so none can refuse a momentum.
    """
    parts = build(config)
    if "lr" not in config.optimizer:
        raise ConfigError("optimizer.lr: must be given, to draw the rates")
    schedule, _ = parts.schedule, parts.scale
    run = horizon(config, steps_per_epoch)
    count = min(run.total_steps, MOST_STEPS)
    steps = np.linspace(0, run.total_steps - 1, count).round().astype(np.int64)
    with within("schedule"):
        if not isinstance(schedule, Schedule):
            return RateCurve(label, run, steps, schedule.rates(config.optimizer.lr, run)[steps])
        placed = schedule.over(run)
        rates = config.optimizer.lr * placed(steps)
        momentum = None if schedule.momentum is None else placed.momentum(steps)
    return RateCurve(label, run, steps, rates, momentum)
