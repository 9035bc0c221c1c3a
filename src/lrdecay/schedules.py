"""Learning-rate schedules: pure functions of the optimizer step, in float64, without torch.

Every schedule is a *placement* in the run, shared by all (`lrdecay.placement.Schedule`), times a *shape* of the decay,
one small class each. The rate of a parameter group is its own initial rate η₀ times `Schedule.factor`.

To add one: a frozen dataclass with a ``shape`` method here, a file in ``conf/schedule/`` and a row
in the conformance test.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any, Literal

import numpy as np

from lrdecay.durations import Duration, DurationLike, Horizon
from lrdecay.errors import is_integer, is_number, plain, require
from lrdecay.placement import Array, Phases, Schedule, periods, whole


@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """The fixed rate: shape = 1.

    With a warm-up and a `cooldown` it is WSD (warm-up, stable, decay; arXiv 2404.06395, 2405.18392), and by other names
    the trapezoid, knee (arXiv 2003.03977) and flat-then-cosine (fastai's ``fit_flat_cos``) schedules.
    """

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
        self.require_positive_duration("every")
        self.require_number("gamma", at_least=0, at_most=1, above=True)

    def shape(self, u: Array, decay_steps: int, horizon: Horizon) -> Array:
        return np.power(self.gamma, periods(u, self._length("every", horizon)).astype(np.float64))


@dataclass(frozen=True, kw_only=True)
class MultiStep(Schedule):
    """Step decay at given points of the run: shape = γ^(milestones passed).

    A milestone b is in force at t = b, as in torch's ``MultiStepLR`` and optax' ``piecewise_constant_schedule``; Keras'
    ``PiecewiseConstantDecay`` changes at b + 1, timm's ``MultiStepLRScheduler`` at b − 1.

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
        start = self.phases(horizon).start
        first_steps = [ceil(Duration.parse(milestone).length(horizon)) for milestone in self.milestones]
        passed = np.searchsorted(np.array(first_steps, dtype=np.float64), u + start, side="right")
        return np.power(self.gamma, passed.astype(np.float64))


@dataclass(frozen=True, kw_only=True)
class Piecewise(Schedule):
    """From point to point: (duration, factor) pairs, with a line, a half cosine or a jump between them.

    As optax' ``piecewise_interpolate_schedule`` and ``piecewise_constant_schedule``, whose scales are multiplied up;
    here each point gives the factor itself (without a `final`). It starts at 1, unless the first point stands at the
    very start, and keeps the last factor to the end. Keras' ``PiecewiseConstantDecay`` jumps one step later.

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
        start = self.phases(horizon).start
        places = [Duration.parse(place).length(horizon) - start for place, _ in self.points]
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
        return before[index] + (after[index] - before[index]) * fallen


@dataclass(frozen=True, kw_only=True)
class Exponential(Schedule):
    """Exponential decay: shape = e^(−λ·u/per).

    The article's η = η₀·e^(−λt) with ``per=1``; a Keras callback that multiplies the rate by e^(−λ)
    at each epoch after the tenth with ``per="1ep" hold="10ep" sample_every="1ep"``. torch's ``ExponentialLR(gamma)`` is
    λ = −ln γ; Keras' and optax' ``decay_rate`` likewise, per ``decay_steps``.

    Args:
        rate: λ, at least 0.
        per: the duration that λ is counted in.
    """

    rate: float = 0.1
    per: DurationLike = "1ep"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_number("rate", at_least=0)
        self.require_positive_duration("per")

    def shape(self, u: Array, decay_steps: int, horizon: Horizon) -> Array:
        return np.exp(-self.rate * u / float(self._length("per", horizon)))


@dataclass(frozen=True, kw_only=True)
class InverseTime(Schedule):
    """Inverse time decay: shape = 1/(1 + r·u/per); Keras' ``InverseTimeDecay``, with `sample_every` its staircase.

    Args:
        rate: r, at least 0.
        per: the duration that r is counted in.
    """

    rate: float = 1.0
    per: DurationLike = "1ep"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_number("rate", at_least=0)
        self.require_positive_duration("per")

    def shape(self, u: Array, decay_steps: int, horizon: Horizon) -> Array:
        return 1 / (1 + self.rate * u / float(self._length("per", horizon)))


@dataclass(frozen=True, kw_only=True)
class InverseSqrt(Schedule):
    """Inverse square root: shape = √(s/(u + s)).

    With s equal to the warm-up and no hold it is √(W/t), the schedule of arXiv 1706.03762 ("Noam") as a ratio of its
    peak d^(−½)·W^(−½), its step numbers counting from 1 and ours from 0. transformers' ``get_inverse_sqrt_schedule``.

    Args:
        timescale: s, longer than 0.
    """

    timescale: DurationLike = "10%"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive_duration("timescale")

    def shape(self, u: Array, decay_steps: int, horizon: Horizon) -> Array:
        s = float(self._length("timescale", horizon))
        return np.sqrt(s / (u + s))


@dataclass(frozen=True, kw_only=True)
class Power(Schedule):
    """Power law of the steps done: shape = min(1, c·t^b), t counted from the start of the run; arXiv 2408.13359.

    Given by the step s = c^(1/−b) at which it leaves its peak, so that c·t^b = (t/s)^b. The paper counts tokens, of
    which a step has a fixed number, and ends with a cool-down from the power law's last value to 0.

    Args:
        peak_until: s, longer than 0, not before the end of warm-up and hold.
        exponent: b, at most 0; −0.51 in the paper.
    """

    peak_until: DurationLike = "10%"
    exponent: float = -0.51

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive_duration("peak_until")
        self.require_number("exponent", at_least=-np.inf, at_most=0)

    def phases(self, horizon: Horizon) -> Phases:
        phases = super().phases(horizon)
        # A warm-up is rounded to whole steps, by at most a half.
        behind = self._length("peak_until", horizon) >= phases.start - Fraction(1, 2)
        require(behind, "peak_until", self.peak_until, f"at least warm-up and hold, {phases.start} steps")
        return phases

    def shape(self, u: Array, decay_steps: int, horizon: Horizon) -> Array:
        s = float(self._length("peak_until", horizon))
        return (np.maximum(u + self.phases(horizon).start, s) / s) ** self.exponent


@dataclass(frozen=True, kw_only=True)
class Polynomial(Schedule):
    """Polynomial decay: shape = (1 − p^k)^power, p = u/D.

    power = k = 1 is linear to zero (arXiv 1905.04753, 2502.15938); k: k-decay, arXiv 2004.05909. torch's
    ``PolynomialLR``, Keras' ``PolynomialDecay``, timm's ``PolyLRScheduler``.

    Args:
        power: above 0.
        k: above 0; above 1 the rate stays high for longer and falls faster at the end.
    """

    power: float = 1.0
    k: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_number("power", at_least=0, above=True)
        self.require_number("k", at_least=0, above=True)

    def shape(self, u: Array, decay_steps: int, horizon: Horizon) -> Array:
        return _power(1 - _power(_progress(u, decay_steps), self.k), self.power)


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """Cosine decay: shape = (½(1 + cos(π·p^k)))^power, p = u/D, from 1 to 0 over the whole decay.

    Without warm-up and with k = power = 1 the article's η = ½·η₀·(1 + cos(πt/T)); SGDR's first cycle, arXiv 1608.03983.
    k: k-decay, arXiv 2004.05909, as in timm. power: optax' ``exponent``. torch's ``CosineAnnealingLR`` rises again past
    its end, this stays at the floor. With warm-up and momentum it is one-cycle, arXiv 1708.07120: torch's
    ``OneCycleLR(total_steps=T + 1, pct_start=(W + 1)/(T + 1))``, whose peak is one step before the share given.

    Args:
        k: above 0; above 1 the rate stays high for longer and falls faster at the end.
        power: above 0.
    """

    k: float = 1.0
    power: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_number("k", at_least=0, above=True)
        self.require_number("power", at_least=0, above=True)

    def shape(self, u: Array, decay_steps: int, horizon: Horizon) -> Array:
        cosine = (1 + np.cos(np.pi * _power(_progress(u, decay_steps), self.k))) / 2
        return _power(cosine, self.power)


@dataclass(frozen=True, kw_only=True)
class CosineRestarts(Schedule):
    """Cosine decay in cycles (SGDR), arXiv 1608.03983: shape = d^i·½(1 + cos πp) in cycle i, p its part done.

    The cycles fill the decay, so the run ends at the floor: with n cycles, each m times as long as the one before, the
    first is D/n long, or D·(m − 1)/(m^n − 1). torch's ``CosineAnnealingWarmRestarts(T_0, T_mult)`` and Keras'
    ``CosineDecayRestarts`` are given that first length. A restart at b is in force at t = b.

    Args:
        cycles: n, at least 1; the shortest must be a step long.
        length_factor: m, above 0.
        peak_factor: d, in (0, 1].
    """

    cycles: int = 3
    length_factor: float = 2.0
    peak_factor: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(is_integer(self.cycles) and self.cycles >= 1, "cycles", self.cycles, "an integer, at least 1")
        self.require_number("length_factor", at_least=0, above=True)
        self.require_number("peak_factor", at_least=0, at_most=1, above=True)

    def phases(self, horizon: Horizon) -> Phases:
        phases = super().phases(horizon)
        if self.cycles > 1 and phases.decay:
            fit = self.cycles <= phases.decay and np.diff(self._bounds(phases.decay)).min() > 1 - 1e-6
            given = f"{self.cycles} with length_factor={self.length_factor:g}"
            allowed = f"so few that each is a step long or more; the decay has {phases.decay}"
            require(bool(fit), "cycles", given, allowed)
        return phases

    def shape(self, u: Array, decay_steps: int, horizon: Horizon) -> Array:
        if not decay_steps:
            return np.ones_like(u)
        bounds = self._bounds(decay_steps)
        # The end of the last cycle belongs to it, so that the floor is reached. A bound may be rounded upwards.
        cycle = np.searchsorted(bounds[1:-1] - 1e-6, u, side="right")
        p = (u - bounds[cycle]) / (bounds[cycle + 1] - bounds[cycle])
        return self.peak_factor**cycle * (1 + np.cos(np.pi * p)) / 2

    def _bounds(self, decay_steps: int) -> Array:
        """Where each cycle begins, and the end of the last; relative to the longest, so that no power overflows."""
        exponents = np.arange(self.cycles, dtype=np.float64)
        exponents -= exponents[-1] if self.length_factor > 1 else 0
        done = np.cumsum(np.concatenate([[0.0], self.length_factor**exponents]))
        return decay_steps * done / done[-1]


@dataclass(frozen=True, kw_only=True)
class Cyclic(Schedule):
    """Triangular cycles between the floor and the peak, arXiv 1506.01186: down, up, down, …

    shape = a·|triangle|, starting at the peak; the first way up is the warm-up, from ``warmup_from=final``. η₀ is the
    ``max_lr`` of torch's ``CyclicLR`` and `final` its ``base_lr/max_lr``. The amplitude a is 1 in ``triangular``,
    halves at each floor in ``triangular2``, and is γ^u in ``exp_range``: there torch counts from the start of the run,
    which makes its peaks γ^W times as high, and bends the first way up.

    Args:
        up: length of a way up.
        down: length of a way down; at most that of the decay.
        mode: ``triangular``, ``triangular2`` or ``exp_range``.
        gamma: γ by step, in (0, 1]; for ``exp_range`` only.
    """

    up: DurationLike = "10%"
    down: DurationLike = "10%"
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular"
    gamma: float = 0.9999

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive_duration("up")
        self.require_positive_duration("down")
        self.require_choice("mode", ("triangular", "triangular2", "exp_range"))
        self.require_number("gamma", at_least=0, at_most=1, above=True)

    def phases(self, horizon: Horizon) -> Phases:
        phases = super().phases(horizon)
        # Warm-up and the like are rounded to whole steps, by at most a half each.
        fits = self._length("down", horizon) <= phases.decay + Fraction(3, 2)
        require(fits, "down", self.down, f"at most the {phases.decay} steps of the decay, or no cycle fits")
        return phases

    def shape(self, u: Array, decay_steps: int, horizon: Horizon) -> Array:
        down, up = self._length("down", horizon), self._length("up", horizon)
        period = down + up
        scaled = whole(u, period) * period.denominator
        into = (scaled % period.numerator / period.denominator).astype(np.float64)
        falling = into <= float(down)
        triangle = np.where(falling, 1 - into / float(down), (into - float(down)) / float(up))
        if self.mode == "triangular":
            return triangle
        if self.mode == "triangular2":
            return triangle * 0.5 ** (periods(u, period) + ~falling)
        return triangle * self.gamma**u


@dataclass(frozen=True, kw_only=True)
class Tanh(Schedule):
    """Hyperbolic-tangent decay: the part of tanh between `lower` and `upper`, upside down, arXiv 1806.01593.

    shape = (tanh u − tanh x)/(tanh u − tanh l) with x = l(1 − p) + u·p. The paper's, and timm's, ½(1 − tanh x) starts a
    little below 1 and ends at ½(1 − tanh u), 0.0025 with u = 3; here both ends are exact.

    Args:
        lower: l, below `upper`; −6 in the paper.
        upper: u; 3 in the paper.
    """

    lower: float = -6.0
    upper: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_number("lower", at_least=-20, at_most=20)
        self.require_number("upper", at_least=-20, at_most=20)
        # Nearer ends, or two in the flat of the tail, would divide rounding errors by each other.
        apart = np.tanh(self.upper) - np.tanh(self.lower) >= 1e-3
        require(bool(apart), "lower", self.lower, f"below upper={self.upper}, with tanh at least 0.001 lower there")

    def shape(self, u: Array, decay_steps: int, horizon: Horizon) -> Array:
        p = _progress(u, decay_steps)
        end, start = np.tanh([self.upper, self.lower])
        return (end - np.tanh(self.lower * (1 - p) + self.upper * p)) / (end - start)


@dataclass(frozen=True, kw_only=True)
class Rex(Schedule):
    """Reflected exponential: shape = (1 − p)/(1 − p/2), p = u/D, arXiv 2107.04197."""

    def shape(self, u: Array, decay_steps: int, horizon: Horizon) -> Array:
        p = _progress(u, decay_steps)
        return (1 - p) / (1 - p / 2)


def _require_rising(
    key: str, places: Sequence[DurationLike], phases: Phases, horizon: Horizon, ends_included: bool = False
) -> None:
    """The places rise strictly, and lie between warm-up and hold and the cool-down."""
    lengths = [Duration.parse(place).length(horizon) for place in places]
    shown = [str(place) for place in places]
    steps = ", ".join(f"{float(length):g}" for length in lengths)
    rising = all(a < b for a, b in itertools.pairwise(lengths))
    require(rising, key, f"[{', '.join(shown)}]", f"in rising order, not at steps {steps}")
    end = horizon.total_steps - phases.cooldown
    inside = all(phases.start <= x <= end and (ends_included or x < end) for x in lengths)
    bounds = f"[{phases.start}, {end}{']' if ends_included else ')'}"
    where = f"within the {'decay' if phases.start or phases.cooldown else 'run'}, {bounds}"
    require(inside, key, f"[{', '.join(shown)}]", f"{where}, not at steps {steps}")


def _power(base: Array, exponent: float) -> Array:
    """``base ** exponent`` without the cost of a power where the exponent is 1."""
    return base if exponent == 1 else base**exponent


def _progress(u: Array, decay_steps: int) -> Array:
    """p = u/D, in [0, 1]; 0 where there is nothing to decay over."""
    return u / max(decay_steps, 1)
