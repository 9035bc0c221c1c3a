"""The schedule that a law recommends for a budget."""

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize

from lrdecay.theory.fitting import Fit

KNOTS = 16
"""Of the shape, evenly spread over the decay."""
PARTS = 600
"""Of a run, for as many rates as the law is evaluated at: with fewer it prefers stairs to slopes."""
STARTS: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    lambda p: 1 - p,
    lambda p: 1 - p**2,
    lambda p: 1 - p**6,
    lambda p: np.where(p < 0.5, 1.0, 0.1),
    np.ones_like,
)
"""Shapes that the search begins with: some fall early, some late, one at once, one not at all."""


def best_heights(fit: Fit, rates: Callable[[np.ndarray], np.ndarray], total_steps: int) -> np.ndarray:
    """The shape, never rising, whose loss at the end of a run has the lowest upper end of its 95% interval.

    The loss itself would be lowest where the law knows least: a sudden drop, say, which none of the runs had that it
    was fitted to.

    It is searched over the falls between the knots, which are at least 0 and together at most 1, from several starts,
    with numerical gradients.

    Args:
        fit: predicts the loss.
        rates: of the run at `middles`, for heights at the knots.
        total_steps: of the run.

    Returns:
        Heights at ``linspace(0, 1, KNOTS + 1)``, from 1.
    """
    each = total_steps / len(middles(total_steps))
    p = np.linspace(0, 1, KNOTS + 1)
    found = [
        minimize(
            lambda falls: fit.final_of_parts(rates(_heights(falls)), each)[2],
            -np.diff(shape(p)),
            method="SLSQP",
            bounds=[(0.0, 1.0)] * KNOTS,
            constraints={"type": "ineq", "fun": lambda falls: 1 - falls.sum()},
        )
        for shape in STARTS
    ]
    return _heights(min(found, key=lambda one: float(one.fun)).x)


def middles(total_steps: int) -> np.ndarray:
    """The steps in the middle of `PARTS` equal parts of a run, or all of a short one."""
    count = min(total_steps, PARTS)
    return (((np.arange(count) + 0.5) * total_steps) // count).astype(np.int64)


def _heights(falls: np.ndarray) -> np.ndarray:
    heights: np.ndarray = np.maximum(1 - np.concatenate([[0.0], np.cumsum(np.maximum(falls, 0.0))]), 0.0)
    return heights
