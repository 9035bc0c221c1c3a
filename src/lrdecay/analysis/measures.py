"""What a run is judged by: a record to numbers."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lrdecay.metrics import METRICS, MONITORED, Direction, Metric, Unit, of_split
from lrdecay.records.record import Record

Targets = Mapping[str, float]
"""Of a baseline, its mean final ``val/acc`` and ``val/loss``, which the others are to reach, and its ``epochs``."""


@dataclass(frozen=True)
class Measure:
    """A number that each completed run has.

    Attributes:
        aspect: what it is about, in a word or two.
        better: which values are.
        unit: how it is written: an accuracy in percent, a loss, epochs and the like.
        meaning: in words.
        of: computes it from a record and the baseline's `Targets`; NaN where it is not known.
    """

    aspect: str
    better: Direction
    unit: Unit | Literal["epochs", "values", "correlation"]
    meaning: str
    of: Callable[[Record, Targets], float]

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


def _final(metric: str) -> Callable[[Record, Targets], float]:
    return lambda run, targets: number(run.outcome.final.get(metric))


def _best(metric: str) -> Callable[[Record, Targets], float]:
    def best(run: Record, targets: Targets) -> float:
        # The final weights may have been measured only after the last epoch.
        curve = np.append(_curve(run, metric), number(run.outcome.final.get(metric)))
        curve = curve[np.isfinite(curve)]
        if not curve.size:
            return math.nan
        return float(curve.max() if METRICS[metric].better == "higher" else curve.min())

    return best


def _midway(metric: str) -> Callable[[Record, Targets], float]:
    def midway(run: Record, targets: Targets) -> float:
        first_half = _curve(run, metric)[: len(run.progress.epochs) // 2]
        return float(first_half[-1]) if first_half.size else math.nan

    return midway


def _epochs_to(metric: str) -> Callable[[Record, Targets], float]:
    def epochs_to(run: Record, targets: Targets) -> float:
        curve, target = _curve(run, metric), targets.get(metric, math.nan)
        if not math.isfinite(target) or not np.isfinite(curve).any():
            return math.nan
        reached = np.flatnonzero(curve >= target if METRICS[metric].better == "higher" else curve <= target)
        # A run that was shorter than the baseline and never got there was not faster.
        return float(reached[0] + 1 if reached.size else max(len(curve), targets.get("epochs", 0)) + 1)

    return epochs_to


def _mean(run: Record, targets: Targets) -> float:
    curve = _curve(run, "val/loss")
    # A loss that was infinite for a while has no area; an epoch that was not validated has only no point.
    return float(np.nanmean(curve)) if np.isfinite(curve).any() and run.progress.divergence is None else math.nan


def _gap(run: Record, targets: Targets) -> float:
    train = _curve(run, "train/loss")
    return number(run.outcome.final.get("val/loss")) - float(train[-1]) if train.size else math.nan


def _rise(run: Record, targets: Targets) -> float:
    return number(run.outcome.final.get("val/loss")) - _best("val/loss")(run, targets)


def _last_half(curve: np.ndarray) -> np.ndarray:
    return curve[len(curve) // 2 :]


def _variation(run: Record, targets: Targets) -> float:
    curve = _last_half(_curve(run, "val/loss"))
    curve = curve[np.isfinite(curve)]
    return float(np.abs(np.diff(curve)).mean()) if curve.size > 1 and run.progress.divergence is None else math.nan


def _scatter(run: Record, targets: Targets) -> float:
    curve = _last_half(_curve(run, "train/loss_std"))
    return float(curve.mean()) if curve.size else math.nan


def _at_the_end(metric: Metric) -> Measure:
    return Measure(metric.title, metric.better, metric.unit, "of the final weights", _final(metric.name))


def _of_the_best_epoch(metric: Metric) -> Measure:
    return Measure(metric.title, metric.better, metric.unit, "of the best epoch", _best(metric.name))


def _halfway(metric: Metric) -> Measure:
    meaning = "after half of the epochs: the order of schedules then need not be that at the end"
    return Measure(f"{metric.title} midway", metric.better, metric.unit, meaning, _midway(metric.name))


def _speed(name: str) -> Measure:
    meaning = f"epochs to the baseline's mean final {name}; one more than there were, if never"
    return Measure("speed", "lower", "epochs", meaning, _epochs_to(name))


MEASURES = {
    **{metric.name: _at_the_end(metric) for split in ("test", "val") for metric in reversed(of_split(split))},
    **{f"best {name}": _of_the_best_epoch(METRICS[name]) for name in MONITORED},
    **{f"{name} midway": _halfway(METRICS[name]) for name in MONITORED},
    **{f"epochs to {name}": _speed(name) for name in MONITORED},
    "mean val/loss": Measure("speed", "lower", "loss", "area under the val/loss curve, an epoch wide", _mean),
    "val/loss gap": Measure("overfitting", "lower", "loss", "final val/loss − train/loss of the last epoch", _gap),
    "val/loss rise": Measure("overfitting", "lower", "loss", "final − lowest val/loss", _rise),
    "val/loss variation": Measure(
        "stability", "lower", "loss", "mean change of val/loss from epoch to epoch, last half of the run", _variation
    ),
    "train/loss std": Measure(
        "stability", "lower", "loss", "standard deviation of the batches' losses in an epoch, last half", _scatter
    ),
}
"""By name; accuracies and losses without another word are those at the end of the run."""


def measures(run: Record, targets: Targets) -> dict[str, float]:
    """Every measure of a run; NaN for all unless it completed."""
    completed = run.outcome.status == "completed"
    return {name: measure.of(run, targets) if completed else math.nan for name, measure in MEASURES.items()}
