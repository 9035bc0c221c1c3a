"""The learning rate over a run, as numbers."""

from dataclasses import dataclass

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
    """

    label: str
    horizon: Horizon
    steps: np.ndarray
    rates: np.ndarray
    momentum: np.ndarray | None = None

    @property
    def mean(self) -> float:
        """Mean rate over the run."""
        return float(self.rates.mean())

    @property
    def area(self) -> float:
        """Sum of the rates of all steps: how far plain gradient descent could have gone."""
        return self.mean * self.horizon.total_steps
