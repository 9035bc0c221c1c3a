"""Rates that stay, and rates that fall at regular steps."""

from dataclasses import dataclass

import numpy as np

from lrdecay.schedules.durations import DurationLike, periods
from lrdecay.schedules.horizon import Horizon
from lrdecay.schedules.placement import Array, Schedule


@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """The fixed rate: shape = 1.

    With a warm-up and a `cooldown` it is WSD (warm-up, stable, decay; arXiv 2404.06395, 2405.18392), and by other names
    the trapezoid, knee (arXiv 2003.03977) and flat-then-cosine (fastai's ``fit_flat_cos``) schedules.

    >>> Constant(cooldown="50%").factor([0, 50, 75, 100], Horizon(total_steps=100, steps_per_epoch=10)).tolist()
    [1.0, 1.0, 0.5, 0.0]
    """

    def shape(self, u: Array, decay_steps: int, horizon: Horizon) -> Array:
        return np.ones_like(u)


@dataclass(frozen=True, kw_only=True)
class Step(Schedule):
    """Step decay: shape = γ^⌊u/d⌋; a drop is in force from u = d on.

    The article's η = η₀·γ^⌊epoch/d⌋ and, with ``every="30ep"``, torch's ``StepLR(step_size=30)``
    stepped once an epoch.

    >>> Step(every="3ep", gamma=0.5).factor([0, 29, 30, 60], Horizon(total_steps=100, steps_per_epoch=10)).tolist()
    [1.0, 1.0, 0.5, 0.25]

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
