"""Learning rates over a run, before it is trained: from a configuration, without data and without torch."""

from dataclasses import dataclass, replace

import numpy as np
from omegaconf import DictConfig

from lrdecay.config.build import build
from lrdecay.config.horizon import horizon
from lrdecay.config.rules import is_own_optimizer
from lrdecay.errors import BadValue, ConfigError, within
from lrdecay.schedules import RateCurve, Schedule, Table
from lrdecay.theory.best import KNOTS, best_heights, middles
from lrdecay.theory.bound import bound, bounds_over_time
from lrdecay.theory.fitting import Fit

MOST_STEPS = 1_000_000  # of a longer run as many are evaluated, evenly spread


LONGER = 4
"""How many times the steps of a run are those of the longer one that is asked about."""


@dataclass(frozen=True)
class BoundedCurve:
    """What the convex bound says of a curve; see `lrdecay.theory.bound`.

    Attributes:
        best_peak: the peak rate with the lowest bound, for a distance and gradient norms of 1, which cancel where two
            curves are compared.
        best: that bound.
        steps: numbers of steps, rising.
        bounds: the bound after so many, at that peak.
        longer_peak: the best peak of a run `LONGER` times as long, relative to this one's.
    """

    curve: RateCurve
    best_peak: float
    best: float
    steps: np.ndarray
    bounds: np.ndarray
    longer_peak: float


def bounded_curve(curve: RateCurve, config: DictConfig, steps_per_epoch: int | None = None) -> BoundedCurve:
    """The bound of the run that the curve is of.

    Raises:
        ConfigError: it has none, since a rate is negative or all are 0.
    """
    longer = rate_curve(curve.label, config, steps_per_epoch, LONGER)
    try:
        whole, of_longer = bound(curve.rates), bound(longer.rates)
        counts, over_time = bounds_over_time(curve.rates)
    except BadValue as error:
        raise ConfigError(f"--bound: {curve.label}: {error}") from error
    peak = whole.best_base * float(curve.rates.max())
    longer_peak = of_longer.best_base * float(longer.rates.max())
    values = np.array([after.at(whole.best_base) for after in over_time])
    return BoundedCurve(curve, peak, whole.best, curve.steps[counts - 1] + 1, values, longer_peak / peak)


def best_points(fit: Fit, config: DictConfig, steps_per_epoch: int | None = None) -> list[list[float]]:
    """The points of the table that the law recommends for a run, see `best_heights`.

    Args:
        fit: of the law.
        config: of the run, with a table for its schedule; warm-up, hold and cool-down are as there.
        steps_per_epoch: see `lrdecay.config.horizon.horizon`.

    Raises:
        ConfigError: see `rate_curve`.
    """
    run = horizon(config, steps_per_epoch)
    table = build(config).schedule
    assert isinstance(table, Table), "the caller's configuration"
    steps = middles(run.total_steps)
    places = np.linspace(0, 1, KNOTS + 1).round(6).tolist()

    def points(heights: np.ndarray) -> list[list[float]]:
        return [[place, height] for place, height in zip(places, heights.tolist(), strict=True)]

    def rates(heights: np.ndarray) -> np.ndarray:
        every: np.ndarray = config.optimizer.lr * replace(table, points=points(heights)).factor(steps, run)
        return every

    with within("schedule"):
        return points(best_heights(fit, rates, run.total_steps).round(4))


def rate_curve(label: str, config: DictConfig, steps_per_epoch: int | None = None, times: int = 1) -> RateCurve:
    """What a run under this configuration would use; a metric-driven scale is taken to stay at 1.

    Args:
        label: of the curve.
        config: of the run.
        steps_per_epoch: see `lrdecay.config.horizon.horizon`.
        times: how many times as long the run is.

    Raises:
        ConfigError: a value cannot be used, as in training; but no optimizer is made, so none can refuse a momentum.
    """
    parts = build(config)
    own = is_own_optimizer(config)  # whose rate only its module knows: drawn as multiples of it
    if "lr" not in config.optimizer and not own:
        raise ConfigError("optimizer.lr: must be given, to draw the rates")
    rate = 1.0 if own else config.optimizer.lr
    schedule, _ = parts.schedule, parts.scale
    run = horizon(config, steps_per_epoch)
    run = replace(run, total_steps=run.total_steps * times)
    count = min(run.total_steps, MOST_STEPS)
    steps = np.linspace(0, run.total_steps - 1, count).round().astype(np.int64)
    factors = {}
    for key, other in parts.scheduled.items():
        with within(f"scheduled.{key}"):
            factors[key] = other.over(run)(steps)
    with within("schedule"):
        if not isinstance(schedule, Schedule):
            return RateCurve(label, run, steps, schedule.rates(rate, run)[steps], factors=factors)
        placed = schedule.over(run)
        rates = rate * placed(steps)
        momentum = None if schedule.momentum is None else placed.momentum(steps)
    return RateCurve(label, run, steps, rates, momentum, factors)
