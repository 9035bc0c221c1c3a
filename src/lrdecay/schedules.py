"""Learning-rate schedules: pure functions of the optimizer step, in float64, without torch.

Every schedule is a *placement* in the run, shared by all (`Schedule`), times a *shape* of the decay, one
small class each. The rate of a parameter group is its own initial rate η₀ times `Schedule.factor`.

To add one: a frozen dataclass with a ``shape`` method here, a file in ``conf/schedule/`` and a row
in the reference test.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrdecay.durations import Duration, DurationLike, Horizon
from lrdecay.errors import BadValue, is_number, require

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Schedule(ABC):
    """Warm-up, hold, then a decay to a floor; T is the run's length in optimizer steps.

    With W, H and D = T − W − H the lengths of warm-up, hold and decay, and t the optimizer step,
    counted from 0, clamped to [0, T] and rounded down to a multiple of `sample_every`::

        factor(t) = warmup_from + (1 − warmup_from)·curve(t/W)    t < W
                    1                                             W ≤ t < W + H
                    final + (1 − final)·shape(u, D)               u = t − W − H ≥ 0

    so the factor is 1 at t = W, the floor is reached at t = T (the last step of training, T − 1,
    lies above it), and past T it keeps the value at T. There is no recursion from step to step: any t
    costs the same, and nothing drifts. With D = 0 there is nothing to decay over: the factor stays at 1.

    Args:
        warmup: length W of the warm-up; T includes it.
        warmup_from: factor at t = 0, in [0, 1], if there is a warm-up.
        warmup_curve: ``linear``, or ``cosine``: ½(1 − cos(πt/W)).
        hold: length H of the plateau after the warm-up.
        final: floor of the decay as a ratio of η₀, in [0, 1].
        sample_every: the factor changes only at multiples of this, longer than 0; ``"1ep"``
            gives the rates of a callback, or of ``scheduler.step()``, once an epoch.

    Raises:
        BadValue: a value is out of its range; the message names it.
    """

    warmup: DurationLike = 0
    warmup_from: float = 0.0
    warmup_curve: Literal["linear", "cosine"] = "linear"
    hold: DurationLike = 0
    final: float = 0.0
    sample_every: DurationLike = 1

    def __post_init__(self) -> None:
        for key in ("warmup", "hold"):
            Duration.parse(getattr(self, key), key)
        self._require_positive_duration("sample_every")
        self._require_number("warmup_from", at_least=0, at_most=1)
        self._require_number("final", at_least=0, at_most=1)
        curves = ("linear", "cosine")
        require(self.warmup_curve in curves, "warmup_curve", self.warmup_curve, " or ".join(curves))

    @abstractmethod
    def shape(self, u: Array, decay_steps: int, horizon: Horizon) -> Array:
        """The decay itself: 1 at u = 0, falling towards 0.

        Args:
            u: steps since the decay began, within [0, decay_steps], any shape.
            decay_steps: D, its length.
            horizon: the run's, for the parameters that are durations.
        """

    @overload
    def factor(self, step: int, horizon: Horizon) -> float: ...
    @overload
    def factor(self, step: ArrayLike, horizon: Horizon) -> Array: ...
    def factor(self, step: ArrayLike, horizon: Horizon) -> float | Array:
        """The rate at an optimizer step as a ratio of η₀, in float64.

        Args:
            step: optimizer steps, counted from 0: a scalar or an array of integers.
            horizon: length of the run.

        Returns:
            A float for a scalar, otherwise an array of the shape of `step`.

        Raises:
            BadValue: the schedule does not fit into the horizon.
        """
        warmup, hold = self.resolve(horizon)
        decay_steps = horizon.total_steps - warmup - hold
        # A scalar goes through as an array of one: numpy's own scalars differ from its arrays in the last bit.
        shape = np.shape(step)
        t = np.clip(np.atleast_1d(np.asarray(step, dtype=np.int64)), 0, horizon.total_steps)
        t = self._sampled(t, horizon)
        u = np.clip(t - warmup - hold, 0, decay_steps).astype(np.float64)
        factor = self.final + (1 - self.final) * self.shape(u, decay_steps, horizon)
        if warmup:
            factor = np.where(t < warmup, self._ramp(t / warmup), factor)
        return factor if shape else float(factor[0])

    def resolve(self, horizon: Horizon) -> tuple[int, int]:
        """Warm-up and hold in steps of this horizon.

        Raises:
            BadValue: warm-up and hold are longer than the run.
        """
        warmup, hold = (Duration.parse(duration).steps(horizon) for duration in (self.warmup, self.hold))
        if warmup + hold > horizon.total_steps:
            raise BadValue(
                f"warmup={self.warmup} and hold={self.hold}: {warmup} + {hold} steps must be at most the run's "
                f"{horizon.total_steps}"
            )
        return warmup, hold

    def _sampled(self, t: NDArray[np.int64], horizon: Horizon) -> NDArray[np.int64]:
        """The first step at or after the last multiple of `sample_every`."""
        every = Duration.parse(self.sample_every).length(horizon)
        return -(-(_periods(t, every) * every.numerator) // every.denominator)

    def _ramp(self, p: Array) -> Array:
        curve = p if self.warmup_curve == "linear" else (1 - np.cos(np.pi * p)) / 2
        return self.warmup_from + (1 - self.warmup_from) * curve

    def _require_positive_duration(self, key: str) -> None:
        given = getattr(self, key)
        require(Duration.parse(given, key).value > 0, key, given, "longer than 0")

    def _require_number(self, key: str, *, at_least: float, at_most: float = np.inf, above: bool = False) -> None:
        """The field is a finite number in [at_least, at_most]; `above` leaves out the lower end."""
        value = getattr(self, key)
        upper = f"{at_most:g}]" if at_most < np.inf else "∞)"
        allowed = f"a number in {'(' if above else '['}{at_least:g}, {upper}"
        require(is_number(value), key, value, allowed)
        require(value > at_least if above else value >= at_least, key, value, allowed)
        require(value <= at_most, key, value, allowed)


def _periods(u: NDArray, period: Fraction) -> NDArray[np.int64]:
    """⌊u/period⌋ for whole u, in integers, so that a multiple of the period is never missed by rounding."""
    return u.astype(np.int64) * period.denominator // period.numerator


@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """The fixed rate: shape = 1."""

    def shape(self, u: Array, decay_steps: int, horizon: Horizon) -> Array:
        return np.ones_like(u)


@dataclass(frozen=True, kw_only=True)
class Step(Schedule):
    """Step decay: shape = γ^⌊u/d⌋; a drop is in force from u = d on.

    The article's η = η₀·γ^⌊epoch/d⌋ and, with ``every="30ep"``, torch's ``StepLR(step_size=30)``
    stepped once an epoch.

    Args:
        every: d, the duration between drops.
        gamma: γ, the factor of one drop, in (0, 1].
    """

    every: DurationLike = "50%"
    gamma: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_positive_duration("every")
        self._require_number("gamma", at_least=0, at_most=1, above=True)

    def shape(self, u: Array, decay_steps: int, horizon: Horizon) -> Array:
        return np.power(self.gamma, _periods(u, Duration.parse(self.every).length(horizon)).astype(np.float64))


@dataclass(frozen=True, kw_only=True)
class Exponential(Schedule):
    """Exponential decay: shape = e^(−λ·u/per).

    The article's η = η₀·e^(−λt) with ``per=1``; a Keras callback that multiplies the rate by e^(−λ)
    at each epoch after the tenth with ``per="1ep" hold="10ep" sample_every="1ep"``.

    Args:
        rate: λ, at least 0.
        per: the duration that λ is counted in.
    """

    rate: float = 0.1
    per: DurationLike = "1ep"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_number("rate", at_least=0)
        self._require_positive_duration("per")

    def shape(self, u: Array, decay_steps: int, horizon: Horizon) -> Array:
        return np.exp(-self.rate * u / float(Duration.parse(self.per).length(horizon)))


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """Cosine decay: shape = ½(1 + cos(πu/D)), from 1 to 0 over the whole decay.

    Without warm-up the article's η = ½·η₀·(1 + cos(πt/T)); SGDR's first cycle, arXiv 1608.03983.
    """

    def shape(self, u: Array, decay_steps: int, horizon: Horizon) -> Array:
        return (1 + np.cos(np.pi * u / max(decay_steps, 1))) / 2
