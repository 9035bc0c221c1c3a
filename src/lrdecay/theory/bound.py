"""How far from the optimum the last iterate of stochastic gradient descent can be, under a schedule.

Schaipp, Hägele, Taylor, Simsekli and Bach, *The surprising agreement between convex optimization theory and
learning-rate scheduling for large model training* (arXiv 2501.18965), Theorem 1, after Defazio, Cutkosky, Mehta and
Mishchenko (arXiv 2310.07831), Theorem 10: for a convex loss, rates η_1 … η_T, expected gradient norms of at most
G_1 … G_T, and an optimum at the distance D from the start, the expected loss after T steps is above the optimum by at
most ::

    D²/(2·Σ η) + Σ η²G²/(2·Σ η) + ½·Σ_{k<T} η_k/(Σ_{s>k} η_s) · (Σ_{s≥k} η_s²G_s²)/(Σ_{s≥k} η_s)

Networks are not convex, and yet it orders schedules of language models, and places their best rates, as training does.
With rates γ·f, where f are a schedule's factors and γ is the base rate, the first term falls as 1/γ and the others grow
as γ: the best base rate and its bound follow.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lrdecay.errors import is_number, require


@dataclass(frozen=True)
class Bound:
    """The bound as a function of the base rate γ: from_start/γ + from_noise·γ.

    Attributes:
        from_start: of the distance that is to be covered.
        from_noise: of the gradients' norms, which the decay is against.
    """

    from_start: float
    from_noise: float

    def at(self, base: float) -> float:
        """The bound with that base rate."""
        return self.from_start / base + self.from_noise * base

    @property
    def best_base(self) -> float:
        """The base rate with the lowest bound."""
        return math.sqrt(self.from_start / self.from_noise)

    @property
    def best(self) -> float:
        """The lowest bound of all base rates."""
        return 2 * math.sqrt(self.from_start * self.from_noise)


def bound(factors: np.ndarray | Sequence[float], norms: np.ndarray | float = 1.0, distance: float = 1.0) -> Bound:
    """The bound after the last of the steps.

    Sums from a step to the end are added up from the end, and not taken as differences of sums from the start: of
    those, a schedule that ends near 0 leaves half the digits. Steps at the end whose rate is 0 change nothing, and are
    left out.

    Args:
        factors: of the base rate, for each step, T.
        norms: of the gradients, for each step, or one for all.
        distance: of the optimum from the start.

    Raises:
        BadValue: a factor is negative or not finite, or all are 0; a norm or the distance is not above 0.
    """
    factors = np.asarray(factors, dtype=float)
    require(factors.ndim == 1 and factors.size > 0, "factors", factors.shape, "one for each step, at least one")
    require(
        bool(np.isfinite(factors).all() and (factors >= 0).all()), "factors", factors.min(), "finite and not below 0"
    )
    require(bool(factors.any()), "factors", 0, "above 0 at one step at least")
    require(is_number(distance) and distance > 0, "distance", distance, "a number above 0")
    norms = np.broadcast_to(np.asarray(norms, dtype=float), factors.shape)
    require(bool(np.isfinite(norms).all() and (norms > 0).all()), "norms", norms.min(), "finite and above 0")
    steps = int(np.flatnonzero(factors)[-1]) + 1
    factors, norms = factors[:steps], norms[:steps]
    rest = _to_the_end(factors)
    noise = _to_the_end((factors * norms) ** 2)
    of_the_last = np.sum(factors[:-1] / rest[1:] * (noise[:-1] / rest[:-1])) / 2
    return Bound(distance**2 / (2 * rest[0]), float(noise[0] / (2 * rest[0]) + of_the_last))


def bounds_over_time(
    factors: np.ndarray | Sequence[float], norms: np.ndarray | float = 1.0, distance: float = 1.0, points: int = 60
) -> tuple[np.ndarray, list[Bound]]:
    """The bounds after some of the steps, as if the run were over: those that decay late come down late.

    Args:
        points: how many at most, evenly spread.

    Returns:
        How many steps have been made, rising, and the bound after so many. Steps before the first rate above 0 are left
        out.
    """
    factors = np.asarray(factors, dtype=float)
    norms = np.broadcast_to(np.asarray(norms, dtype=float), factors.shape)
    first = int(np.argmax(factors > 0)) + 1
    counts = np.unique(np.linspace(first, factors.size, points).round().astype(np.int64))
    return counts, [bound(factors[:count], norms[:count], distance) for count in counts.tolist()]


def _to_the_end(values: np.ndarray) -> np.ndarray:
    return np.cumsum(values[::-1])[::-1]
