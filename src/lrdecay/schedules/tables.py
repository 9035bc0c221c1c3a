"""Rates given at points of the run."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any, Literal

import numpy as np

from lrdecay.errors import is_number, plain, require
from lrdecay.schedules.durations import Duration, DurationLike, length
from lrdecay.schedules.horizon import Horizon
from lrdecay.schedules.placement import Array, Phases, Schedule


@dataclass(frozen=True, kw_only=True)
class MultiStep(Schedule):
    """Step decay at given points of the run: shape = γ^(milestones passed).

    A milestone b is in force at t = b, as in torch's ``MultiStepLR`` and optax' ``piecewise_constant_schedule``; Keras'
    ``PiecewiseConstantDecay`` changes at b + 1, timm's ``MultiStepLRScheduler`` at b − 1.

    >>> run = Horizon(total_steps=100, steps_per_epoch=10)
    >>> MultiStep(milestones=["5ep", "80%"], gamma=0.5).factor([49, 50, 80], run).tolist()
    [1.0, 0.5, 0.25]

    Args:
        milestones: durations from the start of the run (not of the decay), rising, after warm-up and hold and
            before the cool-down and the end.
        gamma: γ, the factor of one drop, in (0, 1].
    """

    milestones: Sequence[DurationLike] = ("50%", "75%")
    gamma: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        milestones = self._as_tuple("milestones", 'a list of durations, such as ["50%", "75%"]')
        for milestone in milestones:
            Duration.parse(milestone, "milestones")
        self.require_number("gamma", at_least=0, at_most=1, above=True)

    def phases(self, horizon: Horizon) -> Phases:
        phases = super().phases(horizon)
        _require_rising("milestones", self.milestones, phases, horizon)
        return phases

    def shape(self, u: Array, decay_steps: int, horizon: Horizon) -> Array:
        start = self._start(horizon)
        first_steps = [ceil(length(milestone, horizon, "milestones")) for milestone in self.milestones]
        passed = np.searchsorted(np.array(first_steps, dtype=np.float64), u + start, side="right")
        return np.power(self.gamma, passed.astype(np.float64))


@dataclass(frozen=True, kw_only=True)
class Piecewise(Schedule):
    """From point to point: (duration, factor) pairs, with a line, a half cosine or a jump between them.

    As optax' ``piecewise_interpolate_schedule`` and ``piecewise_constant_schedule``, whose scales are multiplied up;
    here each point gives the factor itself (without a `final`). It starts at 1, unless the first point stands at the
    very start, and keeps the last factor to the end. Keras' ``PiecewiseConstantDecay`` jumps one step later.

    >>> run = Horizon(total_steps=100, steps_per_epoch=10)
    >>> Piecewise(points=[["50%", 0.5], ["100%", 0.0]]).factor([0, 25, 50, 75, 100], run).tolist()
    [1.0, 0.75, 0.5, 0.25, 0.0]

    Args:
        points: (duration, factor) pairs; the durations from the start of the run (not of the decay), rising, not
            before the end of warm-up and hold, nor past the beginning of the cool-down; the factors at least 0.
        curve: ``linear``, ``cosine``, or ``constant``: the factor changes at the point.
    """

    points: Sequence[Sequence[Any]] = (("50%", 0.1), ("100%", 0.01))
    curve: Literal["linear", "cosine", "constant"] = "linear"

    def __post_init__(self) -> None:
        super().__post_init__()
        allowed = 'a list of [duration, factor] pairs, such as [["50%", 0.1], ["100%", 0.01]], factors at least 0'
        points = self._as_tuple("points", allowed)
        for point in points:
            pair = isinstance(point, Sequence) and not isinstance(point, str) and len(point) == 2
            require(pair and is_number(point[1]) and point[1] >= 0, "points", list(points), allowed)
            Duration.parse(point[0], "points")
        object.__setattr__(self, "points", tuple(tuple(map(plain, point)) for point in points))
        self.require_choice("curve", ("linear", "cosine", "constant"))

    def phases(self, horizon: Horizon) -> Phases:
        phases = super().phases(horizon)
        _require_rising("points", [place for place, _ in self.points], phases, horizon, ends_included=True)
        return phases

    def shape(self, u: Array, decay_steps: int, horizon: Horizon) -> Array:
        start = self._start(horizon)
        places = [length(place, horizon, "points") - start for place, _ in self.points]
        factors = [float(factor) for _, factor in self.points]
        if not places or places[0] > 0:
            places, factors = [Fraction(0), *places], [1.0, *factors]
        # A whole step is at or past a place exactly where it is at or past the next whole number.
        index = np.searchsorted([ceil(place) for place in places], u, side="right") - 1
        before, after = np.array(factors), np.array([*factors[1:], factors[-1]])
        if self.curve == "constant":
            return before[index]
        ends = np.array([*map(float, places), np.inf])
        p = (u - ends[index]) / (ends[index + 1] - ends[index])
        fallen = p if self.curve == "linear" else (1 - np.cos(np.pi * p)) / 2
        height: Array = before[index] + (after[index] - before[index]) * fallen
        return height


def _require_rising(
    key: str, places: Sequence[DurationLike], phases: Phases, horizon: Horizon, ends_included: bool = False
) -> None:
    """The places rise strictly, and lie between warm-up and hold and the cool-down."""
    lengths = [length(place, horizon, key) for place in places]
    shown = [str(place) for place in places]
    steps = ", ".join(f"{float(length):g}" for length in lengths)
    rising = all(a < b for a, b in itertools.pairwise(lengths))
    require(rising, key, f"[{', '.join(shown)}]", f"in rising order, not at steps {steps}")
    end = horizon.total_steps - phases.cooldown
    # Warm-up and cool-down are rounded to whole steps: with 10% of 1505 for the cool-down, 90% is half a step past
    # where it begins. The end of the run is exact.
    before, after = (Fraction(1, 2) if ends_included and phase else 0 for phase in (phases.start, phases.cooldown))
    inside = all(phases.start - before <= x <= end + after and (ends_included or x < end) for x in lengths)
    bounds = f"[{phases.start}, {end}{']' if ends_included else ')'}"
    where = f"within the {'decay' if phases.start or phases.cooldown else 'run'}, {bounds}"
    require(inside, key, f"[{', '.join(shown)}]", f"{where}, not at steps {steps}")
