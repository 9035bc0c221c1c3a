"""Learning rates over a run, before it is trained: from a configuration, without data and without torch."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from omegaconf import DictConfig
from rich.box import SIMPLE_HEAD
from rich.table import Table

from lrdecay.configuration import build, horizon
from lrdecay.durations import Horizon
from lrdecay.errors import ConfigError, within
from lrdecay.placement import Schedule
from lrdecay.rules import check

MOST_STEPS = 1_000_000  # of a longer run as many are evaluated, evenly spread


@dataclass(frozen=True)
class RateCurve:
    """The learning rate at each step of a run.

    Attributes:
        label: what sets it apart.
        horizon: the run's.
        steps: optimizer steps, rising, from 0 to the last one.
        rates: the rate at each of them.
        momentum: likewise, where the schedule has one.
    """

    label: str
    horizon: Horizon
    steps: np.ndarray
    rates: np.ndarray
    momentum: np.ndarray | None = None

    @property
    def mean(self) -> float:
        """Mean rate over the run."""
        return float(self.rates.mean())

    @property
    def area(self) -> float:
        """Sum of the rates of all steps: how far plain gradient descent could have gone."""
        return self.mean * self.horizon.total_steps


def rate_curve(label: str, config: DictConfig, steps_per_epoch: int | None = None) -> RateCurve:
    """What a run under this configuration would use; a metric-driven scale is taken to stay at 1.

    Raises:
        ConfigError: a value cannot be used, as in training; but no optimizer is made, so none can refuse a momentum.
    """
    check(config)
    if "lr" not in config.optimizer:
        raise ConfigError("optimizer.lr: must be given, to draw the rates")
    schedule = build(config.schedule, "schedule")
    if config.get("scale"):
        build(config.scale, "scale")
    run = horizon(config, steps_per_epoch)
    count = min(run.total_steps, MOST_STEPS)
    steps = np.linspace(0, run.total_steps - 1, count).round().astype(np.int64)
    with within("schedule"):
        if not isinstance(schedule, Schedule):
            return RateCurve(label, run, steps, schedule.rates(config.optimizer.lr, run)[steps])
        rates = config.optimizer.lr * schedule.factor(steps, run)
        momentum = None if schedule.momentum is None else schedule.momentum_at(steps, run)
    return RateCurve(label, run, steps, rates, momentum)


def sparkline(values: np.ndarray, width: int) -> str:
    """The values as a line of blocks, each as high as the mean over its part, relative to the greatest."""
    means = [part.mean() for part in np.array_split(values, min(width, len(values)))]
    top = max(values.max(), np.finfo(float).tiny)
    return "".join(" ▁▂▃▄▅▆▇█"[round(8 * mean / top)] for mean in means)


def table(curves: list[RateCurve], width: int) -> Table:
    """A line for each curve: its shape, and where it starts, peaks and ends."""
    grid = Table(box=SIMPLE_HEAD)
    grid.add_column("", overflow="fold")
    grid.add_column("rate over the run", no_wrap=True)
    numbers: dict[str, Callable[[RateCurve], float]] = {
        "steps": lambda curve: curve.horizon.total_steps,
        "first": lambda curve: curve.rates[0],
        "peak": lambda curve: curve.rates.max(),
        "last": lambda curve: curve.rates[-1],
        "mean": lambda curve: curve.mean,
        "area": lambda curve: curve.area,
    }
    if len({curve.horizon for curve in curves}) == 1:
        del numbers["steps"]
    if width < 100:
        numbers = {name: number for name, number in numbers.items() if name not in ("first", "mean")}
    for name in numbers:
        grid.add_column(name, justify="right", no_wrap=True)
    room = max(12, width - 6 - 11 * len(numbers) - min(30, max(len(curve.label) for curve in curves)))
    for curve in curves:
        cells = [f"{number(curve):.4g}" for number in numbers.values()]
        grid.add_row(curve.label, sparkline(curve.rates, room), *cells)
    return grid
