"""Which values of a key work: those with which a run comes near to the best of all."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from lrdecay.analysis.claim import COUNTED
from lrdecay.analysis.groups import Group, buckets, rename
from lrdecay.analysis.settings import seed, setting
from lrdecay.errors import ConfigError

BySeed = Mapping[int, float]
Works = dict[int, dict[str, bool]]
"""For each seed and value of a key, whether the run came near to the best."""


def working(groups: Sequence[Group], key: str, tolerance: float) -> tuple[list[Group], dict[str, Works]]:
    """Groups without the key, and which of its values work for each; where a run diverged, the value does not."""
    accuracies = [np.mean(finals) for g in groups if (finals := g.final(COUNTED)).size and np.isfinite(finals).all()]
    if not accuracies:
        raise ConfigError("none of its groups has a test accuracy")
    least = max(accuracies) - tolerance
    alike = buckets(groups, [key])
    named = rename([same[0] for same in alike], without=[key])
    works: dict[str, Works] = {one.label: {} for one in named}
    for one, same in zip(named, alike, strict=True):
        ended = [run for g in same for run in [*g.completed, *(r for r in g.runs if r.outcome.status == "diverged")]]
        for run in ended:
            near = (run.outcome.final.get(COUNTED) or 0.0) >= least
            value = repr(setting(run, key))
            of_seed = works[one.label].setdefault(seed(run), {})
            of_seed[value] = near and of_seed.get(value, True)
    runs = [[run for g in same for run in g.runs] for same in alike]
    return [replace(one, runs=all_runs) for one, all_runs in zip(named, runs, strict=True)], works


def counts(mine: Works, theirs: Works) -> tuple[BySeed, BySeed]:
    """How many values work for each seed, of those that were tried on both sides."""
    both = {s: mine[s].keys() & theirs[s].keys() for s in mine.keys() & theirs.keys()}
    count = [{s: float(sum(side[s][v] for v in values)) for s, values in both.items()} for side in (mine, theirs)]
    return count[0], count[1]


def uneven(g: Group, baseline: Group, works: Mapping[str, Works]) -> list[str]:
    """What has to be said where not the same was tried on both sides."""
    mine, theirs = ({(s, v) for s in works[one.label] for v in works[one.label][s]} for one in (g, baseline))
    if mine == theirs:
        return []
    counted, tried = len(mine & theirs), len(mine | theirs)
    return [f"{g.label}: {counted} of {tried} runs count, whose seed and value were tried for {baseline.label} too"]
