"""Rates that rise again."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np

from lrdecay.errors import is_integer, require
from lrdecay.schedules.durations import DurationLike, periods, whole
from lrdecay.schedules.horizon import Horizon
from lrdecay.schedules.placement import Array, Phases, Schedule


@dataclass(frozen=True, kw_only=True)
class CosineRestarts(Schedule):
    """Cosine decay in cycles (SGDR), arXiv 1608.03983: shape = d^i·½(1 + cos πp) in cycle i, p its part done.

    The cycles fill the decay, so the run ends at the floor: with n cycles, each m times as long as the one before, the
    first is D/n long, or D·(m − 1)/(m^n − 1). torch's ``CosineAnnealingWarmRestarts(T_0, T_mult)`` and Keras'
    ``CosineDecayRestarts`` are given that first length. A restart at b is in force at t = b.

    >>> run = Horizon(total_steps=90, steps_per_epoch=10)
    >>> CosineRestarts(cycles=2, length_factor=2).factor([0, 15, 30, 60, 90], run).round(4).tolist()
    [1.0, 0.5, 1.0, 0.5, 0.0]

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
        bounds = self._bounds(decay_steps)  # as floats: a cycle need not be a whole number of steps long
        # The end of the last cycle belongs to it, so that the floor is reached. A bound may be rounded upwards.
        cycle = np.searchsorted(bounds[1:-1] - 1e-6, u, side="right")
        p = (u - bounds[cycle]) / (bounds[cycle + 1] - bounds[cycle])
        height: Array = self.peak_factor**cycle * (1 + np.cos(np.pi * p)) / 2
        return height

    def _bounds(self, decay_steps: int) -> Array:
        """Where each cycle begins, and the end of the last; relative to the longest, so that no power overflows."""
        exponents = np.arange(self.cycles, dtype=np.float64)
        exponents -= exponents[-1] if self.length_factor > 1 else 0
        done = np.cumsum(np.concatenate([[0.0], self.length_factor**exponents]))
        bounds: Array = decay_steps * done / done[-1]
        return bounds


@dataclass(frozen=True, kw_only=True)
class Cyclic(Schedule):
    """Triangular cycles between the floor and the peak, arXiv 1506.01186: down, up, down, …

    shape = a·|triangle|, starting at the peak; the first way up is the warm-up, from ``warmup_from=final``. η₀ is the
    ``max_lr`` of torch's ``CyclicLR`` and `final` its ``base_lr/max_lr``. The amplitude a is 1 in ``triangular``,
    halves at each floor in ``triangular2``, and is γ^u in ``exp_range``: there torch counts from the start of the run,
    which makes its peaks γ^W times as high, and bends the first way up.

    >>> run = Horizon(total_steps=100, steps_per_epoch=10)
    >>> Cyclic(up="10%", down="10%", final=0.1).factor([0, 5, 10, 20], run).round(4).tolist()
    [1.0, 0.55, 0.1, 1.0]

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
        # The remainder in whole numbers: u % period of two floats misses the turn of a cycle by a step now and then,
        # and a peak would come a step late.
        scaled = whole(u, period) * period.denominator
        into = (scaled % period.numerator / period.denominator).astype(np.float64)
        falling = into <= float(down)
        triangle = np.where(falling, 1 - into / float(down), (into - float(down)) / float(up))
        if self.mode == "triangular":
            return triangle
        if self.mode == "triangular2":
            # Each floor halves what follows: within cycle i the way down still has the height of i, the way up has
            # half.
            halved: Array = triangle * 0.5 ** (periods(u, period) + ~falling)
            return halved
        return triangle * self.gamma**u
