"""How many seeds it would take to decide what is open."""

import bisect
import math
from collections.abc import Callable, Sequence

from scipy.special import stdtr, stdtrit

from lrdecay.analysis.inference import Difference

POWER = 0.8
MOST_SEEDS = 1000


def seeds_to_decide(found: Difference, alpha: Callable[[int], float], gaps: Sequence[float]) -> float | None:
    """The seeds of which a t test finds, with 80% power, that a difference as large as the one measured is one.

    Args:
        found: the difference; what of its variance falls with the number of seeds is taken from it.
        alpha: of the two-sided test at so many seeds; not falling.
        gaps: how far the difference lies from each bound that is to be excluded: from 0, say, or from both margins.

    Returns:
        The number of seeds; infinity where it is above `MOST_SEEDS`, as where the data themselves are too few; ``None``
        where nothing is known of the spread.
    """
    if not math.isfinite(found.of_seeds):
        return None

    def decide(n: int) -> bool:
        error = math.sqrt(found.of_seeds / n + found.of_data)
        needed = float(stdtrit(n - 1, 1 - alpha(n) / 2))
        return sum(float(stdtr(n - 1, needed - gap / error)) for gap in gaps) <= 1 - POWER

    # The more there are, the less is needed, so that the first that are enough can be bisected.
    counts = range(max(found.n, 2), MOST_SEEDS + 1)
    first = bisect.bisect_left(counts, True, key=decide)
    return counts[first] if first < len(counts) else math.inf


def seeds_wanted(seeds: float | None) -> str:
    """``24 seeds``, ``more than 1,000 seeds``, or that it is unknown."""
    if seeds is None:
        return "an unknown number of seeds"
    return f"{seeds:,.0f} seeds" if math.isfinite(seeds) else f"more than {MOST_SEEDS:,} seeds"
