"""What a run is judged by: a record to numbers."""

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lrdecay.metrics import METRICS, TRAIN_LOSS, Direction, Metric, Metrics, Unit
from lrdecay.records.record import Record

Targets = Mapping[str, float]
"""Of a baseline, the means of its final metrics of validation, which the others are to reach, and its ``epochs``."""


Of = Callable[[Record, Targets], float]
"""Computes a measure from a record and the baseline's targets; NaN where it is not known."""


@dataclass(frozen=True)
class Measure:
    """A number that each completed run has.

    Attributes:
        aspect: what it is about, in a word or two.
        better: which values are.
        unit: how it is written: an accuracy in percent, a loss, epochs and the like.
        meaning: in words.
        of: computes it.
    """

    aspect: str
    better: Direction
    unit: Unit | Literal["epochs", "values", "correlation"]
    meaning: str
    of: Of

    def text(self, value: float) -> str:
        """``98.76%``, ``0.0621``, ``13.8``; a dash for what is not known."""
        if not math.isfinite(value):
            return "–"
        return self._number(value, "") + ("%" if self.unit == "accuracy" else "")

    def difference(self, value: float, sign: str = "+") -> str:
        """``+0.18`` points, ``−0.0096``, ``−2.4``, or without the sign the width of an interval."""
        return self._number(value, sign) if math.isfinite(value) else "–"

    def interval(self, difference: float, low: float, high: float) -> str:
        """``+0.18 points (+0.00 to +0.35)``, or the difference alone where it has no interval."""
        text = self.difference(difference) + self.points
        return f"{text} ({self.difference(low)} to {self.difference(high)})" if math.isfinite(low) else text

    @property
    def points(self) -> str:
        """The unit that follows a difference."""
        return " points" if self.unit == "accuracy" else ""

    def _number(self, value: float, sign: str) -> str:
        if self.unit == "number":
            return f"{value + 0.0:{sign}.{3 if sign else 4}g}".replace("-", "−")
        factor, digits = {"accuracy": (100, 2), "loss": (1, 4), "correlation": (1, 2)}.get(self.unit, (1, 1))
        return f"{round(factor * value, digits) + 0.0:{sign}.{digits}f}".replace("-", "−")  # no negative zero

    def gain(self, difference: float) -> float:
        """The difference as a gain: positive where it is to the better."""
        return difference if self.better == "higher" else -difference


def _curve(run: Record, metric: str) -> np.ndarray:
    """The metric after each epoch; NaN where it was not measured or not finite."""
    return np.array([number(epoch.get(metric)) for epoch in run.progress.epochs], dtype=float)


def number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _final(metric: Metric) -> Of:
    return lambda run, targets: number(run.outcome.final.get(metric.name))


def _lowest_or_highest(run: Record, metric: Metric) -> float:
    # The final weights may have been measured only after the last epoch.
    curve = np.append(_curve(run, metric.name), number(run.outcome.final.get(metric.name)))
    curve = curve[np.isfinite(curve)]
    if not curve.size:
        return math.nan
    return float(curve.max() if metric.better == "higher" else curve.min())


def _best(metric: Metric) -> Of:
    return lambda run, targets: _lowest_or_highest(run, metric)


def _midway(metric: Metric) -> Of:
    def midway(run: Record, targets: Targets) -> float:
        first_half = run.progress.epochs[: len(run.progress.epochs) // 2]
        validated = [epoch[metric.name] for epoch in first_half if metric.name in epoch]
        return number(validated[-1]) if validated else math.nan

    return midway


def _epochs_to(metric: Metric) -> Of:
    def epochs_to(run: Record, targets: Targets) -> float:
        curve, target = _curve(run, metric.name), targets.get(metric.name, math.nan)
        if not math.isfinite(target) or not np.isfinite(curve).any():
            return math.nan
        reached = np.flatnonzero(curve >= target if metric.better == "higher" else curve <= target)
        # A run that was shorter than the baseline and never got there was not faster.
        return float(reached[0] + 1 if reached.size else max(len(curve), targets.get("epochs", 0)) + 1)

    return epochs_to


def _mean(metric: Metric) -> Of:
    def mean(run: Record, targets: Targets) -> float:
        curve = _curve(run, metric.name)
        # A loss that was infinite for a while has no area; an epoch that was not validated has only no point.
        return float(np.nanmean(curve)) if np.isfinite(curve).any() and run.progress.divergence is None else math.nan

    return mean


def _gap(metric: Metric, twin: str) -> Of:
    def gap(run: Record, targets: Targets) -> float:
        train = _curve(run, twin)
        return number(run.outcome.final.get(metric.name)) - float(train[-1]) if train.size else math.nan

    return gap


def _rise(metric: Metric) -> Of:
    return lambda run, targets: number(run.outcome.final.get(metric.name)) - _lowest_or_highest(run, metric)


def _last_half(curve: np.ndarray) -> np.ndarray:
    return curve[len(curve) // 2 :]


def _variation(metric: Metric) -> Of:
    def variation(run: Record, targets: Targets) -> float:
        curve = _last_half(_curve(run, metric.name))
        curve = curve[np.isfinite(curve)]
        known = curve.size > 1 and run.progress.divergence is None
        return float(np.abs(np.diff(curve)).mean()) if known else math.nan

    return variation


def _scatter(run: Record, targets: Targets) -> float:
    curve = _last_half(_curve(run, f"{TRAIN_LOSS}_std"))
    return float(curve.mean()) if curve.size else math.nan


def _at_the_end(metric: Metric) -> Measure:
    return Measure(metric.title, metric.better, metric.unit, "of the final weights", _final(metric))


def _of_the_best_epoch(metric: Metric) -> Measure:
    return Measure(metric.title, metric.better, metric.unit, "of the best epoch", _best(metric))


def _halfway(metric: Metric) -> Measure:
    meaning = "at the last validation in the first half of the run: the order of schedules may change until its end"
    return Measure(f"{metric.title} midway", metric.better, metric.unit, meaning, _midway(metric))


def _speed(metric: Metric) -> Measure:
    meaning = f"epochs to the baseline's mean final {metric.name}; one more than there were, if never"
    return Measure("speed", "lower", "epochs", meaning, _epochs_to(metric))


def _of_a_loss(metric: Metric, twin: str) -> Iterator[tuple[str, Measure]]:
    """What the curve of something says that is better the lower it is."""
    name, unit = metric.name, metric.unit
    yield f"mean {name}", Measure("speed", "lower", unit, f"area under the {name} curve, an epoch wide", _mean(metric))
    if twin:
        meaning = f"final {name} − {twin} of the last epoch"
        yield f"{name} gap", Measure("overfitting", "lower", unit, meaning, _gap(metric, twin))
    yield f"{name} rise", Measure("overfitting", "lower", unit, f"final − lowest {name}", _rise(metric))
    meaning = f"mean change of {name} from epoch to epoch, last half of the run"
    yield f"{name} variation", Measure("stability", "lower", unit, meaning, _variation(metric))


@functools.cache
def measures_of(metrics: Metrics) -> dict[str, Measure]:
    """The measures of runs with these metrics by name; metrics without another word are those at the end of the run."""
    validated = [metrics[name] for name in metrics.monitored]
    meaning = "standard deviation of the batches' losses in an epoch, last half"
    return {
        **{name: _at_the_end(metrics[name]) for split in ("test", "val") for name in metrics.of_split(split)},
        **{f"best {metric.name}": _of_the_best_epoch(metric) for metric in validated},
        **{f"{metric.name} midway": _halfway(metric) for metric in validated},
        **{f"epochs to {metric.name}": _speed(metric) for metric in validated},
        **{
            name: measure
            for loss in metrics.losses
            for name, measure in _of_a_loss(metrics[loss], metrics.twin(loss, "train"))
        },
        f"{TRAIN_LOSS} std": Measure("stability", "lower", "loss", meaning, _scatter),
    }


MEASURES = measures_of(METRICS)
"""Those of classifiers."""


def said(metrics: Metrics) -> list[str]:
    """The measures whose verdicts are said: of the end of a run, how soon it got there, and how steadily."""
    return [*metrics.leading[:2], f"epochs to {metrics.monitored[0]}", *_of_curves(metrics, "rise", "variation")]


def shown(metrics: Metrics) -> list[str]:
    """The measures that a table shows at first."""
    first = dict.fromkeys([metrics.leading[0], metrics.monitored[0], *metrics.losses[:1]])
    means = [f"mean {loss}" for loss in metrics.losses[:1]]
    return [*first, f"epochs to {metrics.monitored[0]}", *means, *_of_curves(metrics, "rise", "variation")]


def _of_curves(metrics: Metrics, *words: str) -> list[str]:
    return [*(f"{loss} {word}" for loss in metrics.losses[:1] for word in words), f"{TRAIN_LOSS} std"]


def measures(run: Record, targets: Targets) -> dict[str, float]:
    """Every measure of a run; NaN for all unless it completed."""
    completed = run.outcome.status == "completed"
    return {name: m.of(run, targets) if completed else math.nan for name, m in measures_of(run.metrics).items()}
