"""All rates of a run in one array, for frameworks that compile a step: there it can look up, and not call numpy."""

import numpy as np

from lrdecay.errors import is_number, require
from lrdecay.schedules import Horizon, Schedule

MOST = 10_000_000
"""Steps of a run whose rates are held in memory, 80 MB."""


def rate_table(schedule: Schedule, rate: float, horizon: Horizon) -> np.ndarray:
    """The rates of all T steps, then the rate after the end; float64, T + 1 values.

    Raises:
        BadValue: the schedule does not fit into the horizon, which may be too long for a table, or sets more than the
            rate; or the rate is not a number above 0.
    """
    schedule.require_factor_alone()
    require(is_number(rate) and rate > 0, "rate", rate, "a number above 0")
    total = horizon.total_steps
    require(total <= MOST, "total_steps", total, f"at most {MOST:,}, since all rates are held in memory")
    rates: np.ndarray = rate * schedule.over(horizon)(np.arange(total + 1))
    return rates
