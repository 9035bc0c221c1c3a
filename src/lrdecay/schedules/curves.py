"""The learning rate over a run, as numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lrdecay.schedules.horizon import Horizon


@dataclass(frozen=True)
class RateCurve:
    """The learning rate at each step of a run.

    Attributes:
        label: what sets it apart.
        horizon: the run's.
        steps: optimizer steps, rising, from 0 to the last one.
        rates: the rate at each of them.
        momentum: likewise, where the schedule has one.
        factors: of other quantities that are scheduled, likewise, by their keys.
    """

    label: str
    horizon: Horizon
    steps: np.ndarray
    rates: np.ndarray
    momentum: np.ndarray | None = None
    factors: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        """Mean rate over the run."""
        return float(self.rates.mean())

    @property
    def area(self) -> float:
        """Sum of the rates of all steps: how far plain gradient descent could have gone."""
        return self.mean * self.horizon.total_steps
