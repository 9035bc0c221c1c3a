"""Rates that fall smoothly."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from lrdecay.errors import require
from lrdecay.schedules.durations import DurationLike
from lrdecay.schedules.horizon import Horizon
from lrdecay.schedules.placement import Array, Phases, Schedule


@dataclass(frozen=True, kw_only=True)
class Exponential(Schedule):
    """Exponential decay: shape = e^(−λ·u/per).

    The article's η = η₀·e^(−λt) with ``per=1``; a Keras callback that multiplies the rate by e^(−λ)
    at each epoch after the tenth with ``per="1ep" hold="10ep" sample_every="1ep"``. torch's ``ExponentialLR(gamma)`` is
    λ = −ln γ; Keras' and optax' ``decay_rate`` likewise, per ``decay_steps``.

    >>> run = Horizon(total_steps=100, steps_per_epoch=10)
    >>> Exponential(rate=0.1, per="1ep").factor([0, 10, 20], run).round(4).tolist()
    [1.0, 0.9048, 0.8187]

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

    >>> InverseTime(rate=1, per="1ep").factor([0, 10, 30], Horizon(total_steps=100, steps_per_epoch=10)).tolist()
    [1.0, 0.5, 0.25]

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

    >>> run = Horizon(total_steps=100, steps_per_epoch=10)
    >>> InverseSqrt(warmup="10%", timescale="10%").factor([5, 10, 40, 90], run).round(4).tolist()
    [0.5, 1.0, 0.5, 0.3333]

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

    >>> run = Horizon(total_steps=100, steps_per_epoch=10)
    >>> Power(peak_until="10%", exponent=-0.5).factor([0, 10, 40], run).tolist()
    [1.0, 1.0, 0.5]

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
        return (np.maximum(u + self._start(horizon), s) / s) ** self.exponent


@dataclass(frozen=True, kw_only=True)
class Polynomial(Schedule):
    """Polynomial decay: shape = (1 − p^k)^power, p = u/D.

    power = k = 1 is linear to zero (arXiv 1905.04753, 2502.15938); k: k-decay, arXiv 2004.05909. torch's
    ``PolynomialLR``, Keras' ``PolynomialDecay``, timm's ``PolyLRScheduler``.

    >>> run = Horizon(total_steps=100, steps_per_epoch=10)
    >>> Polynomial(power=2).factor([0, 50, 100], run).tolist()
    [1.0, 0.25, 0.0]

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

    >>> Cosine(warmup="20%").factor([0, 10, 20, 60, 100], Horizon(total_steps=100, steps_per_epoch=10)).tolist()
    [0.0, 0.5, 1.0, 0.5, 0.0]

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
class Tanh(Schedule):
    """Hyperbolic-tangent decay: tanh from `lower` to `upper`, rescaled to fall from 1 to 0, arXiv 1806.01593.

    shape = (tanh u − tanh x)/(tanh u − tanh l) with x = l(1 − p) + u·p. The paper's, and timm's, ½(1 − tanh x) starts a
    little below 1 and ends at ½(1 − tanh u), 0.0025 with u = 3; here both ends are exact.

    >>> Tanh().factor([0, 50, 100], Horizon(total_steps=100, steps_per_epoch=10)).round(4).tolist()
    [1.0, 0.9525, 0.0]

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
        height: Array = (end - np.tanh(self.lower * (1 - p) + self.upper * p)) / (end - start)
        return height


@dataclass(frozen=True, kw_only=True)
class Rex(Schedule):
    """Reflected exponential: shape = (1 − p)/(β + (1 − β)(1 − p)), p = u/D, arXiv 2107.04197.

    >>> Rex().factor([0, 50, 100], Horizon(total_steps=100, steps_per_epoch=10)).round(4).tolist()
    [1.0, 0.6667, 0.0]

    Args:
        beta: β, in (0, 1]; ½ in the paper, 1 is linear, and the smaller it is, the longer the rate stays high.
    """

    beta: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_number("beta", at_least=0, at_most=1, above=True)

    def shape(self, u: Array, decay_steps: int, horizon: Horizon) -> Array:
        p = _progress(u, decay_steps)
        return (1 - p) / (1 - (1 - self.beta) * p)


def _power(base: Array, exponent: float) -> Array:
    """``base ** exponent`` without the cost of a power where the exponent is 1."""
    return base if exponent == 1 else base**exponent


def _progress(u: Array, decay_steps: int) -> Array:
    """p = u/D, in [0, 1]; 0 where there is nothing to decay over."""
    return u / max(decay_steps, 1)
