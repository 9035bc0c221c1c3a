"""How many seeds it would take to decide what is open."""

import bisect
import math

from scipy.special import stdtrit

from lrdecay.analysis.inference import Difference

POWER = 0.8
MOST_SEEDS = 1000


def seeds_to_decide(found: Difference, alpha: float, gap: float) -> int | None:
    """The seeds of which a t test finds, with 80% power, that a difference as large as the one measured is one.

    Args:
        found: the difference; what of its variance falls with the number of seeds is taken from it.
        alpha: of the test, two-sided.
        gap: how far the difference lies from what is to be excluded, as 0.

    Returns:
        The number of seeds; ``None`` where it is above `MOST_SEEDS`, as where the data themselves are too few, or where
        nothing is known of the spread.
    """
    if not (math.isfinite(found.of_seeds) and gap > 0):
        return None

    def decide(n: int) -> bool:
        needed = float(stdtrit(n - 1, 1 - alpha / 2) + stdtrit(n - 1, POWER))
        return needed * math.sqrt(found.of_seeds / n + found.of_data) <= gap

    fewest = max(found.n, 2)
    # The more there are, the less is needed, so that the first that are enough can be bisected.
    counts = range(fewest, MOST_SEEDS + 1)
    first = bisect.bisect_left(counts, True, key=decide)
    return counts[first] if first < len(counts) else None
