"""Where a decay stands in the run: warm-up, hold, cool-down, floor and sampling, common to every schedule."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Any, Literal, NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrdecay.errors import BadValue, is_number, plain, require
from lrdecay.schedules.durations import Duration, DurationLike, length, nearest, whole
from lrdecay.schedules.horizon import Horizon

Array = NDArray[np.float64]
Curve = Literal["linear", "cosine", "sqrt", "square"]

# Ways down from 1 at q = 0 to 0 at q = 1; a warm-up goes the same way backwards.
CURVES: dict[str, Callable[[Array], Array]] = {
    "linear": lambda q: 1 - q,
    "cosine": lambda q: (1 + np.cos(np.pi * q)) / 2,
    "sqrt": lambda q: 1 - np.sqrt(q),
    "square": lambda q: 1 - q**2,
}


class Phases(NamedTuple):
    """The parts of a run, in optimizer steps; their sum is the run's length."""

    warmup: int
    hold: int
    decay: int
    cooldown: int

    @property
    def start(self) -> int:
        """The step at which the decay begins."""
        return self.warmup + self.hold


@dataclass(frozen=True, kw_only=True)
class Schedule(ABC):
    """Warm-up, hold, decay and cool-down to a floor; T is the run's length in optimizer steps.

    With W, H, C and D = T − W − H − C the lengths of warm-up, hold, cool-down and decay, and t the optimizer
    step, counted from 0, clamped to [0, T] and rounded down to a multiple of `sample_every`::

        factor(t) = warmup_from + (1 − warmup_from)·curve(1 − t/W)    t < W
                    1                                                 W ≤ t < W + H
                    final + (1 − final)·shape(u, D)                   0 ≤ u = t − W − H ≤ D
                    final + (1 − final)·shape(D, D)·curve(q)          0 ≤ q = (t − T + C)/C ≤ 1

    so the factor is 1 at t = W. A shape that falls to 0, and any cool-down, reaches the floor at t = T (the last step
    of training, T − 1, lies above it), or sampled at the last multiple before it; past T the factor keeps the value at
    T. There is no recursion from step to step: any t costs the same, and nothing drifts. With D = 0 there is nothing to
    decay over.

    A curve goes from 1 at 0 to 0 at 1: ``linear`` 1 − q, ``cosine`` ½(1 + cos πq), ``sqrt`` 1 − √q, ``square`` 1 − q².
    Cool-down is for a decay that has not reached the floor by itself: after a cosine it is a time at the floor.

    Args:
        warmup: length W of the warm-up; T includes it.
        warmup_from: factor at t = 0, in [0, 1], if there is a warm-up.
        warmup_curve: one of the curves.
        hold: length H of the plateau after the warm-up.
        cooldown: length C of the end of the run, in which the factor goes from what it is to `final`.
        cooldown_curve: one of the curves; 1 − √q was the best in arXiv 2405.18392.
        final: the fraction of η₀ that does not decay, in [0, 1]; so the floor of a shape that falls to 0.
        sample_every: the factor changes only at multiples of this, longer than 0; ``"1ep"``
            gives the rates of a callback, or of ``scheduler.step()``, once an epoch.
        momentum: (low, high), in [0, 1): the optimizer's momentum, or Adam's β₁, goes against the rate, as in
            arXiv 1708.07120: low where the rate is at its peak, high at either end. ``None`` leaves it alone.
        weight_decay: ``coupled``: as optimizers do, decoupled weight decay (arXiv 1711.05101) is multiplied by the
            rate, so it falls with it; ``constant``: η₀ times the weight decay at every step whose rate is not 0.

    Raises:
        BadValue: a value is out of its range; the message names it.
    """

    warmup: DurationLike = 0
    warmup_from: float = 0.0
    warmup_curve: Curve = "linear"
    hold: DurationLike = 0
    cooldown: DurationLike = 0
    cooldown_curve: Curve = "linear"
    final: float = 0.0
    sample_every: DurationLike = 1
    momentum: Sequence[float] | None = None
    weight_decay: Literal["coupled", "constant"] = "coupled"

    def __post_init__(self) -> None:
        for f in fields(self):
            object.__setattr__(self, f.name, plain(getattr(self, f.name)))
        for key in ("warmup", "hold", "cooldown"):
            Duration.parse(getattr(self, key), key)
        self.require_positive_duration("sample_every")
        self.require_number("warmup_from", at_least=0, at_most=1)
        self.require_number("final", at_least=0, at_most=1)
        self.require_choice("warmup_curve", CURVES)
        self.require_choice("cooldown_curve", CURVES)
        self.require_choice("weight_decay", ("coupled", "constant"))
        if self.momentum is not None:
            allowed = "two numbers [low, high] with 0 ≤ low ≤ high < 1, or null"
            ends = self._as_tuple("momentum", allowed)
            require(len(ends) == 2 and all(map(is_number, ends)), "momentum", list(ends), allowed)
            require(0 <= ends[0] <= ends[1] < 1, "momentum", list(ends), allowed)

    @abstractmethod
    def shape(self, u: Array, decay_steps: int, horizon: Horizon) -> Array:
        """The decay itself: 1 at u = 0, falling towards 0.

        Args:
            u: steps since the decay began, within [0, decay_steps], any shape.
            decay_steps: D, its length.
            horizon: the run's, for the parameters that are durations.
        """

    def over(self, horizon: Horizon) -> "Placed":
        """The schedule over a run of that length: its durations resolved and checked once, then called at each step.

        >>> from lrdecay.schedules import Cosine
        >>> factor = Cosine(warmup="10%").over(Horizon(total_steps=100, steps_per_epoch=20))
        >>> factor(5), factor(10), factor(55)
        (0.5, 1.0, 0.5)

        Raises:
            BadValue: the schedule does not fit into the run.
        """
        return Placed(self, horizon, self.phases(horizon))

    @overload
    def factor(self, step: int, horizon: Horizon) -> float: ...
    @overload
    def factor(self, step: ArrayLike, horizon: Horizon) -> Array: ...
    def factor(self, step: ArrayLike, horizon: Horizon) -> float | Array:
        """The rate at an optimizer step as a ratio of η₀, in float64: ``over(horizon)(step)``."""
        return self.over(horizon)(step)

    @overload
    def momentum_at(self, step: int, horizon: Horizon) -> float: ...
    @overload
    def momentum_at(self, step: ArrayLike, horizon: Horizon) -> Array: ...
    def momentum_at(self, step: ArrayLike, horizon: Horizon) -> float | Array:
        """The momentum, or β₁, at an optimizer step: ``over(horizon).momentum(step)``."""
        return self.over(horizon).momentum(step)

    def phases(self, horizon: Horizon) -> Phases:
        """The parts of the run in steps of this horizon.

        Raises:
            BadValue: the schedule does not fit into the run.
        """
        keys = ("warmup", "hold", "cooldown")
        warmup, hold, cooldown = (nearest(length(getattr(self, key), horizon, key)) for key in keys)
        decay = horizon.total_steps - warmup - hold - cooldown
        if decay < 0:
            given = [f"{key}={getattr(self, key)}" for key in keys if getattr(self, key)]
            counts = [str(count) for count in (warmup, hold, cooldown) if count]
            raise BadValue(
                f"{' and '.join(given)}: {' + '.join(counts)} steps must be at most the run's {horizon.total_steps}"
            )
        return Phases(warmup, hold, decay, cooldown)

    def require_factor_alone(self) -> None:
        """Refuses a momentum and a constant weight decay, for what takes the factor and nothing else.

        Raises:
            BadValue: the schedule has one of them.
        """
        require(self.momentum is None, "momentum", list(self.momentum or ()), "null, since momentum cannot be set here")
        coupled = "coupled, since weight decay cannot be set here"
        require(self.weight_decay == "coupled", "weight_decay", self.weight_decay, coupled)

    def _length(self, key: str, horizon: Horizon) -> Fraction:
        """The duration in that field, in optimizer steps, exactly."""
        return length(getattr(self, key), horizon, key)

    def _start(self, horizon: Horizon) -> int:
        """The step at which the decay begins."""
        return Schedule.phases(self, horizon).start

    def _as_tuple(self, key: str, allowed: str) -> tuple[Any, ...]:
        """Puts a tuple in the place of a list, so that the schedule can be hashed."""
        value = getattr(self, key)
        require(isinstance(value, Sequence) and not isinstance(value, str), key, value, allowed)
        items = tuple(map(plain, value))
        object.__setattr__(self, key, items)
        return items

    def require_positive_duration(self, key: str) -> None:
        """The field is a duration longer than 0."""
        given = getattr(self, key)
        require(Duration.parse(given, key).value > 0, key, given, "longer than 0")

    def require_choice(self, key: str, choices: Sequence[str] | dict[str, Any]) -> None:
        """The field is one of them."""
        require(getattr(self, key) in tuple(choices), key, getattr(self, key), f"one of {', '.join(choices)}")

    def require_number(self, key: str, *, at_least: float, at_most: float = np.inf, above: bool = False) -> None:
        """The field is a finite number in [at_least, at_most]; `above` leaves out the lower end."""
        value = getattr(self, key)
        upper = f"{at_most:g}]" if at_most < np.inf else "∞)"
        lower = f"{'(' if above else '['}{at_least:g}" if at_least > -np.inf else "(−∞"
        allowed = f"a number in {lower}, {upper}"
        require(is_number(value), key, value, allowed)
        require(value > at_least if above else value >= at_least, key, value, allowed)
        require(value <= at_most, key, value, allowed)


@dataclass(frozen=True)
class Placed:
    """A schedule over a run: a function of the optimizer step; see `Schedule.over`."""

    schedule: Schedule
    horizon: Horizon
    phases: Phases

    @overload
    def __call__(self, step: int) -> float: ...
    @overload
    def __call__(self, step: ArrayLike) -> Array: ...
    def __call__(self, step: ArrayLike) -> float | Array:
        """The rate at an optimizer step as a ratio of η₀, in float64.

        Args:
            step: optimizer steps, counted from 0: a scalar or an array of integers.

        Returns:
            A float for a scalar, otherwise an array of the shape of `step`.

        Raises:
            BadValue: the shape gives a factor that is not finite.
        """
        schedule = self.schedule
        rising, height = self._height(step)
        factor = schedule.final + (1 - schedule.final) * height
        if rising.any():
            factor = np.where(rising, schedule.warmup_from + (1 - schedule.warmup_from) * height, factor)
        self._require_finite(factor, np.atleast_1d(step))
        return factor if np.shape(step) else float(factor[0])

    @overload
    def momentum(self, step: int) -> float: ...
    @overload
    def momentum(self, step: ArrayLike) -> Array: ...
    def momentum(self, step: ArrayLike) -> float | Array:
        """The momentum, or β₁, at an optimizer step, like the factor; only where the schedule has one."""
        assert self.schedule.momentum is not None, "asked for only where there is one"
        low, high = self.schedule.momentum
        _, height = self._height(step)
        momentum = high - (high - low) * np.clip(height, 0, 1)
        return momentum if np.shape(step) else float(momentum[0])

    def _height(self, step: ArrayLike) -> tuple[NDArray[np.bool_], Array]:
        """Whether the step is in the warm-up, and how high the rate stands between its ends there: 1 is the peak."""
        schedule, phases = self.schedule, self.phases
        # Clamped before it is sampled, so that past the end the last sample holds instead of the floor.
        # A scalar goes through as an array of one: numpy's own scalars differ from its arrays in the last bit.
        t = self._sampled(np.clip(np.atleast_1d(np.asarray(step, dtype=np.int64)), 0, self.horizon.total_steps))
        u = np.clip(t - phases.start, 0, phases.decay).astype(np.float64)
        height = schedule.shape(u, phases.decay, self.horizon)
        if phases.cooldown:
            q = np.clip((t - phases.start - phases.decay) / phases.cooldown, 0, 1)
            height = height * CURVES[schedule.cooldown_curve](q)
        rising = t < phases.warmup
        if phases.warmup:
            p = np.minimum(t / phases.warmup, 1)
            height = np.where(rising, CURVES[schedule.warmup_curve](1 - p), height)
        return rising, height

    def _sampled(self, t: NDArray[np.int64]) -> NDArray[np.int64]:
        """The first step at or after the last multiple of `sample_every`."""
        # How often the rate changes is no time of the run, and is not stretched with it.
        every = length(self.schedule.sample_every, replace(self.horizon, stretch=1.0), "sample_every")
        if every == 1:
            return t
        reached = whole(t, every) * every.denominator // every.numerator * every.numerator
        return (-(-reached // every.denominator)).astype(np.int64)

    def _require_finite(self, factor: Array, step: NDArray[np.int64]) -> None:
        """A shape of one's own may divide by zero; better said than trained with."""
        finite = np.isfinite(factor)
        if not finite.all():
            where = f"at step {step[~finite][0]} of {self.horizon.total_steps} under {self.schedule!r}"
            raise BadValue(f"factor={factor[~finite][0]}: must be a finite number, {where}")


def duration_keys() -> set[str]:
    """Keys of all schedules that there are, anybody's among them, whose values are durations."""
    kinds = [Schedule]
    for kind in kinds:
        kinds += kind.__subclasses__()
    return {f.name for kind in kinds for f in fields(kind) if "Duration" in str(f.type)}
