"""The metrics of a run, in one table: their names, which way is better, how they are computed and written."""

import functools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Union, cast

from lrdecay.errors import ConfigError
from lrdecay.text import shortened

if TYPE_CHECKING:
    import numpy as np

Unit = Literal["loss", "accuracy", "number"]
Direction = Literal["higher", "lower"]
Split = Literal["train", "val", "test"]
Sums = Union[Sequence[float], "np.ndarray"]
"""Over the images of some batches: the loss, how many are classified correctly, for each batch the square of its mean
loss times its images, and how many images there are."""
SPLITS: dict[Split, str] = {"train": "training", "val": "validation", "test": "test"}
"""In words."""
PREFIX = re.compile(r"(train|val|test)(?:ing|id|idation)?[/_.-](\S+)")
"""Of a metric's name: where it is measured, and what."""


@dataclass(frozen=True)
class Metric:
    """A number that is measured over a split of the data.

    Attributes:
        name: ``val/loss``: by which it is logged, recorded and configured.
        split: where it is measured.
        quantity: what, the same for every split: ``loss``.
        title: in words.
        better: which values are.
        unit: how it is written: an accuracy in percent, a loss to four decimals, any other number to four digits.
    """

    name: str
    split: Split
    quantity: str
    title: str
    better: Direction
    unit: Unit

    def improves(self, value: float, on: float) -> bool:
        """Whether `value` is better than `on`; NaN never is, and everything else is better than NaN."""
        if not math.isfinite(value):
            return False
        return math.isnan(on) or (value < on if self.better == "lower" else value > on)

    def text(self, value: float | None) -> str:
        """``98.76%``, ``0.0621`` or ``2903``; a dash for what is not known."""
        if value is None or not math.isfinite(value):
            return "–"
        return {"accuracy": f"{100 * value:.2f}%", "loss": f"{value:.4f}", "number": f"{value:.4g}"}[self.unit]


@dataclass(frozen=True)
class Panel:
    """A quantity that is drawn over a training: the names of its metrics, empty where it has none in that split."""

    title: str
    train: str
    val: str
    better: Direction
    unit: Unit


class Metrics(Mapping[str, Metric]):
    """The metrics of a run by name; of each split the one that counts most comes first."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._by_name = {metric.name: metric for metric in metrics}
        self._hash = hash(tuple(self._by_name.items()))

    def __hash__(self) -> int:
        return self._hash

    def __getitem__(self, name: str) -> Metric:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def of_split(self, split: str) -> list[str]:
        """The names of those of a split: ``train``, ``val`` or ``test``."""
        return [name for name, metric in self.items() if metric.split == split]

    @functools.cached_property
    def monitored(self) -> tuple[str, ...]:
        """Those by which a measurement can be the best of its run."""
        return tuple(self.of_split("val"))

    @functools.cached_property
    def followed(self) -> tuple[str, ...]:
        """Those that a scale can follow."""
        return (*self.monitored, *self.of_split("train"))

    @functools.cached_property
    def leading(self) -> tuple[str, ...]:
        """Those that a comparison shows first: of the test set, the loss of validation, others."""
        tested, validated = self.of_split("test"), self.of_split("val")
        order = [*tested[:1], *self.losses[:1], *validated[:1], *tested[1:], *validated[1:]]
        return tuple(dict.fromkeys(order))

    @functools.cached_property
    def losses(self) -> tuple[str, ...]:
        """Those of validation that are better the lower they are."""
        return tuple(name for name in self.of_split("val") if self[name].better == "lower")

    def twin(self, name: str, split: str) -> str:
        """The name of the same quantity in another split, empty where there is none."""
        quantity = self[name].quantity
        return next((other for other in self.of_split(split) if self[other].quantity == quantity), "")

    @functools.cached_property
    def panels(self) -> tuple[Panel, ...]:
        """Two quantities at most to be drawn: the loss of validation, and what validation is judged by."""
        chosen = dict.fromkeys([*self.losses[:1], *self.monitored])
        panels = [_panel(self[name], self.twin(name, "train"), name) for name in list(chosen)[:2]]
        if len(panels) < 2 and all(panel.train != TRAIN_LOSS for panel in panels):
            panels.append(_panel(self[TRAIN_LOSS], TRAIN_LOSS, ""))
        return tuple(panels)


def _panel(metric: Metric, train: str, val: str) -> Panel:
    title = "accuracy" if metric.quantity == "acc" else metric.quantity
    return Panel(title, train, val, metric.better, metric.unit)


TRAIN_LOSS = "train/loss"
"""What every training has, whatever else it measures."""


def _of_classification() -> Iterator[Metric]:
    for split, title in SPLITS.items():
        yield Metric(f"{split}/acc", split, "acc", f"{title} accuracy", "higher", "accuracy")
        yield Metric(f"{split}/loss", split, "loss", f"{title} loss", "lower", "loss")


METRICS = Metrics(_of_classification())
"""Those of a classifier."""
METRICS_FILE = "metrics.csv"
"""In a run's folder: what was logged, under Lightning's name for it."""
GRADIENT_NORM = "grad_norm"
"""Logged beside the metrics, where it is asked for."""


def metrics_of(config: Mapping[str, Any]) -> Metrics:
    """The metrics of a run under a configuration: those that it declares under ``metrics``, or a classifier's.

    Raises:
        ConfigError: a declaration is invalid.
    """
    declared = config.get("metrics")
    if not declared:
        return METRICS
    if not isinstance(declared, Mapping):
        raise ConfigError(f"metrics={shortened(declared)}: must be a mapping such as {{val/rmse: lower}}")
    rows = tuple((str(name), _fields(str(name), said)) for name, said in declared.items())
    return _declared(rows)


def _fields(name: str, said: Any) -> tuple[tuple[str, Any], ...]:
    """What is said of a metric: its direction alone, or that among other things."""
    fields = dict(said) if isinstance(said, Mapping) else {"better": said}
    allowed = {"better": ("lower", "higher"), "split": tuple(SPLITS), "percent": (True, False)}
    for key, value in fields.items():
        if key not in allowed:
            raise ConfigError(f"metrics.{name}.{key}: must be one of {', '.join(allowed)}")
        if value not in allowed[key]:
            words = " or ".join(str(one).lower() for one in allowed[key])
            raise ConfigError(f"metrics.{name}.{key}={shortened(value)}: must be {words}")
    if "better" not in fields:
        raise ConfigError(f"metrics.{name}: must say which values are better, lower or higher")
    return tuple(sorted(fields.items()))


@functools.cache
def _declared(rows: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...]) -> Metrics:
    found = [_metric(name, **dict(fields)) for name, fields in rows]
    if TRAIN_LOSS not in {metric.name for metric in found}:
        found.append(METRICS[TRAIN_LOSS])
    if not any(metric.split == "val" for metric in found):
        raise ConfigError("metrics: must have one of validation, such as val/loss: lower, to judge runs by")
    return Metrics(found)


def _metric(name: str, better: Direction, split: Split | None = None, percent: bool = False) -> Metric:
    prefixed = PREFIX.fullmatch(name)
    where = split or (cast(Split, prefixed[1]) if prefixed else None)
    if where is None:
        raise ConfigError(
            f"metrics.{name}: must begin with train, val or test, or say where it is measured: "
            f"{{better: {better}, split: val}}"
        )
    quantity = prefixed[2] if prefixed else name
    unit: Unit = "accuracy" if percent else "loss" if quantity == "loss" else "number"
    return Metric(name, where, quantity, f"{SPLITS[where]} {quantity}", better, unit)


def merged(several: Iterable[Metrics]) -> Metrics:
    """The metrics of runs that are compared with each other.

    Raises:
        ConfigError: two say the contrary of one.
    """
    first, *others = dict.fromkeys(several)
    found = dict(first)
    for metrics in others:
        for name, metric in metrics.items():
            if found.setdefault(name, metric).better != metric.better:
                raise ConfigError(f"metrics.{name}: is better lower in some of the runs and higher in others")
    return Metrics(found.values()) if others else first


def means(sums: Sums, split: str) -> dict[str, float]:
    """Loss and accuracy of a split by name, from a classifier's sums."""
    return {f"{split}/loss": float(sums[0] / sums[3]), f"{split}/acc": float(sums[1] / sums[3])}


def deviation(sums: Sums) -> float:
    """Standard deviation of the batches' mean losses."""
    loss, _, squares, count = sums
    if not count:
        return math.nan
    return math.sqrt(max(squares / count - (loss / count) ** 2, 0.0))
