"""Metric-driven decay: a scale that multiplies whatever the schedule says, and follows a metric.

The rate is η₀ · factor(t) · scale, so a scale goes with any schedule and its warm-up. Needs neither numpy nor torch.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from lrdecay.errors import is_integer, is_number, plain, require
from lrdecay.metrics import METRICS, Direction


@dataclass(kw_only=True)
class Scale(ABC):
    """A scale that begins at 1; `read` is given each new value of the metric.

    Args:
        metric: its name, such as ``val/loss``. Those of validation are read at each validation, those of training are
            means over an epoch.
        better: which of its values are, ``lower`` or ``higher``; ``None`` for a loss or an accuracy of ours.
        factor: of one fall, in (0, 1).
        patience: readings that are waited for in vain before the scale changes, at least 0.
        threshold: an improvement is at least this, at least 0.
        threshold_mode: ``rel``, `threshold` times the best value, or ``abs``.
        cooldown: readings after a fall that do not count, at least 0.
        minimum: floor of the scale, in [0, 1].

    Raises:
        BadValue: a value is out of its range; the message names it.
    """

    metric: str = "val/loss"
    better: Direction | None = None
    factor: float = 0.1
    patience: int = 2
    threshold: float = 1e-4
    threshold_mode: Literal["rel", "abs"] = "rel"
    cooldown: int = 0
    minimum: float = 0.0

    value: float = field(default=1.0, init=False)
    """The scale."""
    best: float = field(init=False)
    bad: int = field(default=0, init=False)
    cooling: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        for f in fields(self):
            if f.init:
                setattr(self, f.name, plain(getattr(self, f.name)))
        allowed = f"one of {', '.join(METRICS.followed)}; of another metric better must be given"
        require(self.better is not None or self.metric in METRICS.followed, "metric", self.metric, allowed)
        self._require("better", self.better in (None, "lower", "higher"), "lower, higher or null")
        self._require("factor", 0 < self.factor < 1 if is_number(self.factor) else False, "a number in (0, 1)")
        self._require_count("patience")
        self._require_count("cooldown")
        self._require("threshold", is_number(self.threshold) and self.threshold >= 0, "a number, at least 0")
        self._require("threshold_mode", self.threshold_mode in ("rel", "abs"), "rel or abs")
        self._require("minimum", is_number(self.minimum) and 0 <= self.minimum <= 1, "a number in [0, 1]")
        self.best = self._worst

    @abstractmethod
    def read(self, metric: float) -> None:
        """Takes a new value of the metric, and changes `value` if it is time."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold for the scale to continue: plain values by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if not f.init}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continues from what `state` gave."""
        for name in self.state():
            setattr(self, name, state[name])

    @property
    def _worst(self) -> float:
        return math.inf if (self.better or METRICS[self.metric].better) == "lower" else -math.inf

    def _improved(self, metric: float) -> bool:
        sign = 1 if self._worst > 0 else -1
        margin = self.threshold * abs(self.best) if self.threshold_mode == "rel" else self.threshold
        # Infinite times 0 is no number; anything is better than the worst.
        return sign * metric < sign * self.best - margin if math.isfinite(self.best) else sign * metric < math.inf

    def _fall(self) -> None:
        self.value = max(self.value * self.factor, self.minimum)
        self.cooling = self.cooldown

    def _require_count(self, key: str, at_least: int = 0) -> None:
        value = getattr(self, key)
        self._require(key, is_integer(value) and value >= at_least, f"an integer, at least {at_least}")

    def _require(self, key: str, condition: bool, allowed: str) -> None:
        require(condition, key, getattr(self, key), allowed)


@dataclass(kw_only=True)
class Plateau(Scale):
    """Falls when the metric has not improved for more than `patience` readings: torch's ``ReduceLROnPlateau``.

    torch's ``min_lr`` is `minimum` as a ratio of η₀; its ``eps``, the smallest change that is made, is 0 here.
    """

    def read(self, metric: float) -> None:
        if self._improved(metric):
            self.best = metric
            self.bad = 0
        else:
            self.bad += 1
        if self.cooling:
            self.cooling -= 1
            self.bad = 0
        if self.bad > self.patience:
            self._fall()
            self.bad = 0


@dataclass(kw_only=True)
class Greedy(Scale):
    """Rises while the metric improves and falls while it does not: GreedyLR, arXiv 2512.14527, as transformers has it.

    After more than `patience` improvements in a row the scale is divided by `factor`, after more than `patience` others
    multiplied by it. The paper's simplest form is ``patience=0``. transformers' ``min_lr`` and ``max_lr`` are `minimum`
    and `maximum` as ratios of η₀, and its ``eps`` is 0 here.

    Args:
        warmup: readings after a rise that do not count, at least 0.
        window: how many of the last readings are averaged before they are judged, at least 1.
        maximum: ceiling of the scale, at least 1.
        reset_after: how often the scale may fall short of `minimum` before everything is reset; at least 1.
    """

    factor: float = 0.95
    patience: int = 0
    threshold: float = 1e-6
    threshold_mode: Literal["rel", "abs"] = "abs"
    minimum: float = 0.01
    warmup: int = 0
    window: int = 1
    maximum: float = 10.0
    reset_after: int = 500

    good: int = field(default=0, init=False)
    warming: int = field(default=0, init=False)
    readings: list[float] = field(default_factory=list, init=False)
    at_minimum: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_count("warmup")
        self._require_count("window", at_least=1)
        self._require_count("reset_after", at_least=1)
        self._require("maximum", is_number(self.maximum) and self.maximum >= 1, "a number, at least 1")

    def read(self, metric: float) -> None:
        self.readings = [*self.readings, metric][-self.window :]
        if self.cooling or self.warming:
            if self.cooling:
                self.cooling -= 1
            else:
                self.warming -= 1
            self.good = self.bad = 0
            return
        mean = sum(self.readings) / len(self.readings)
        if self._improved(mean):
            self.best = mean
            self.good, self.bad = self.good + 1, 0
        else:
            self.good, self.bad = 0, self.bad + 1
        if self.good > self.patience:
            self._rise()
        elif self.bad > self.patience:
            self._fall()
            self.bad = 0
            self._count_minimum()

    def _rise(self) -> None:
        self.value = min(self.value / self.factor, self.maximum)
        self.warming = self.warmup
        self.good = self.at_minimum = 0

    def _count_minimum(self) -> None:
        if self.value > self.minimum:
            return
        self.at_minimum += 1
        if self.at_minimum >= self.reset_after:
            self.value, self.best, self.readings = 1.0, self._worst, []
            self.good = self.bad = self.at_minimum = 0
