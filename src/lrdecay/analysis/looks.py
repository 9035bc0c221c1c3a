"""Looking again with more seeds, paid for: a group sequential design.

Whoever looks after 5 seeds, and goes on to 10 where nothing is decided yet, has more than one chance of being misled.
So the numbers of seeds at which a claim is looked at are written down before its runs; only then is it judged, by the
first so many of its seeds; and each look spends a share of the probability of being wrong, the later ones more: of m
looks the k-th has k/(1 + … + m) of it. The shares add up to all of it, so however one stops, the chance of a wrong
verdict is no larger than that of a single look (Bonferroni's inequality).
"""

from collections.abc import Sequence


def look(seeds: Sequence[int], looks: Sequence[int]) -> tuple[list[int], float]:
    """The seeds that count by now, and the share that their look has.

    Args:
        seeds: those that have been run.
        looks: numbers of seeds at which the claim is judged, rising; none means one look, at however many there are.
    """
    different = sorted(set(seeds))
    if not looks:
        return different, 1.0
    reached = sum(count <= len(different) for count in looks)
    index = max(reached, 1)  # before the first look it is judged as it would be there
    return different[: looks[index - 1]], index / sum(range(1, len(looks) + 1))
