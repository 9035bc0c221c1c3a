"""Looking again with more seeds, paid for: a group sequential design.

Whoever looks after 5 seeds, and goes on to 10 where nothing is decided yet, has more than one chance of being misled.
So the numbers of seeds at which a claim is looked at, and the first of them, are written down before its runs; only
then is it judged, by exactly these seeds; and each look spends a share of the probability of being wrong, the later
ones more: of m looks the k-th has k/(1 + … + m) of it. The shares add up to all of it, so however one stops, the chance
of a wrong verdict is no larger than that of a single look (Bonferroni's inequality).
"""

import bisect
import itertools
from collections.abc import Collection, Sequence

from lrdecay.errors import ConfigError


def look(settled: Collection[int], looks: Sequence[int], first: int = 1) -> range:
    """The seeds of the last look that has been reached.

    Args:
        settled: seeds whose runs have all come to an end.
        looks: numbers of seeds at which a claim is judged, rising.
        first: of the seeds that count.

    Raises:
        ConfigError: there are fewer than the first look takes.
    """
    done = next(count for count in itertools.count() if first + count not in settled)
    if done < looks[0]:
        needed = f"{first} to {first + looks[0] - 1}"
        raise ConfigError(f"seed {first + done} is not settled in every group; the first look takes seeds {needed}")
    return range(first, first + max(count for count in looks if count <= done))


def share(seeds: int, looks: Sequence[int]) -> float:
    """What part of the probability of being wrong is spent by the look that takes so many seeds, or the last there is;
    all of it, where there is but one look."""
    if not looks:
        return 1.0
    index = min(bisect.bisect_left(looks, seeds), len(looks) - 1)
    return (index + 1) / sum(range(1, len(looks) + 1))


def to_look(seeds: float | None, looks: Sequence[int]) -> float | None:
    """So many seeds, or as many more as the next look takes, if there is one."""
    return seeds if seeds is None else next((count for count in looks if count >= seeds), seeds)
