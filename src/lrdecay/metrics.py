"""The metrics of a run, in one table: their names, which way is better, how they are computed and written."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Union

if TYPE_CHECKING:
    import numpy as np

Unit = Literal["loss", "accuracy"]
Direction = Literal["higher", "lower"]
Sums = Union[Sequence[float], "np.ndarray"]
"""Over the images of some batches: the loss, how many are classified correctly, for each batch the square of its mean
loss times its images, and how many images there are."""


@dataclass(frozen=True)
class Metric:
    """A number that is measured over a split of the data.

    Attributes:
        name: ``val/loss``: by which it is logged, recorded and configured.
        title: in words.
        better: which values are.
        unit: how it is written: an accuracy in percent, a loss to four digits.
        mean: computes it from `Sums`.
    """

    name: str
    title: str
    better: Direction
    unit: Unit
    mean: Callable[[Sums], float]

    @property
    def worst(self) -> float:
        """A value that every other one improves on."""
        return math.inf if self.better == "lower" else -math.inf

    def improves(self, value: float, on: float) -> bool:
        """Whether `value` is better than `on`; NaN never is, and everything else is better than NaN."""
        if not math.isfinite(value):
            return False
        return math.isnan(on) or (value < on if self.better == "lower" else value > on)

    def text(self, value: float | None) -> str:
        """``98.76%`` or ``0.0621``; a dash for what is not known."""
        if value is None or not math.isfinite(value):
            return "–"
        return f"{100 * value:.2f}%" if self.unit == "accuracy" else f"{value:.4f}"


def _metrics() -> dict[str, Metric]:
    found = {}
    for split, title in (("train", "training"), ("val", "validation"), ("test", "test")):
        found[f"{split}/loss"] = Metric(
            f"{split}/loss", f"{title} loss", "lower", "loss", lambda sums: float(sums[0] / sums[3])
        )
        found[f"{split}/acc"] = Metric(
            f"{split}/acc", f"{title} accuracy", "higher", "accuracy", lambda sums: float(sums[1] / sums[3])
        )
    return found


METRICS = _metrics()
"""By name."""
METRICS_FILE = "metrics.csv"
"""In a run's folder: what was logged, under Lightning's name for it."""
GRADIENT_NORM = "grad_norm"
"""Logged beside the metrics, where it is asked for."""
MONITORED = ("val/acc", "val/loss")
"""Metrics by which a measurement can be the best of its run."""
FOLLOWED = ("val/loss", "val/acc", "train/loss", "train/acc")
"""Metrics that a scale can follow."""


def of_split(split: str) -> list[Metric]:
    """The metrics of a split: ``train``, ``val`` or ``test``."""
    return [metric for name, metric in METRICS.items() if name.startswith(f"{split}/")]


def means(sums: Sums, split: str) -> dict[str, float]:
    """Every metric of a split by name, from its sums."""
    return {metric.name: metric.mean(sums) for metric in of_split(split)}


def deviation(sums: Sums) -> float:
    """Standard deviation of the batches' mean losses."""
    loss, _, squares, count = sums
    return math.sqrt(max(squares / count - (loss / count) ** 2, 0.0))
