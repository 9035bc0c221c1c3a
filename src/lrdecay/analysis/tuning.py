"""Groups each at its own best value of a key, chosen by validation."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lrdecay.analysis.groups import Group, buckets, rename, varied_keys
from lrdecay.analysis.settings import seed, settings_of, value_of
from lrdecay.errors import ConfigError
from lrdecay.records.identity import identity
from lrdecay.text import brief, listed, plural


def tune(
    groups: Sequence[Group], keys: Sequence[str], tried: Sequence[Group] | None = None
) -> tuple[list[Group], list[str]]:
    """Of the groups that differ in these keys only, the one that validates best.

    Best is the mean over seeds of what the first run monitored, such as val/acc, of the final weights. A group with
    a run that did not complete comes after those without.

    Args:
        groups: with the runs that choose.
        keys: such as ``optimizer.lr``.
        tried: with all runs that there are, to be counted; `groups` by default.

    Returns:
        The chosen, and what has to be said of the others, and of a best value that is the lowest or highest tried.

    Raises:
        ConfigError: a key does not vary.
    """
    settings = {g.label: settings_of(g.runs[0]) for g in groups}
    varied = varied_keys(groups, settings)
    for key in keys:
        if key not in varied:
            among = ", ".join(varied) or "there is none"
            raise ConfigError(f"tuned over {key}: must be a key that varies among these runs: {among}")
    metric = monitored(groups)
    alike = buckets(groups, keys)
    # Chosen by validation, never by test.
    bests = [max(same, key=lambda g: validates(g, metric)) for same in alike]
    chosen = [replace(best, tuned={key: value_of(settings[best.label], key) for key in keys}) for best in bests]
    notes = [f"each group at its best {', '.join(keys)} by {metric}; {_left_out(chosen, tried or groups)}"]
    named = rename(chosen, without=keys)
    for key in keys:
        values = [[value_of(settings[g.label], key) for g in same] for same in alike]
        notes += _at_ends(key, list(zip(named, values, strict=True)))
    for best, same in zip(named, alike, strict=True):
        if len(counts := sorted({len(g.runs) for g in same})) > 1:
            few = f"{counts[0]} to {counts[-1]} runs each, and one with few is easily the best by luck"
            notes.append(f"{best.label}: chosen among values with {few}")
    return named, notes


def _left_out(chosen: Sequence[Group], groups: Sequence[Group]) -> str:
    """What was tried and not chosen is evidence too, of how much tuning it took; so it is counted, not forgotten."""
    kept = {_identity(g) for g in chosen}
    left = [run for g in groups if _identity(g) not in kept for run in g.runs]
    lost = sum(run.outcome.status != "completed" for run in left)
    return f"the {plural(len(left), 'run')} at other values, of which {lost} did not complete, are left out"


def tune_by_all(groups: Sequence[Group], keys: Sequence[str]) -> tuple[list[Group], list[str]]:
    """The same where all seeds choose, and are to judge too: what validates best looks better than it is then."""
    named, notes = tune(groups, keys)
    told = "the seeds that chose also judge (tuned_by keeps them apart)"
    why = "the more values a group was tried at, the better it looks, in validation above all"
    return named, [notes[0], f"{told}: {why}", *notes[1:]]


def choose(groups: Sequence[Group], keys: Sequence[str], by: Sequence[int]) -> tuple[list[Group], list[str]]:
    """What `tune` chooses by these seeds alone, of what has been run with them: groups of their runs.

    Raises:
        ConfigError: a key does not vary, or a group has not been run with all of those seeds, or none has.
    """
    choosing = [replace(g, runs=[run for run in g.runs if seed(run) in by]) for g in groups]
    if not (choosing := [g for g in choosing if g.runs]):
        raise ConfigError(f"tuned over {listed(list(keys))}: must have runs of {named_seeds(by)}")
    for g in choosing:
        settled = {seed(run) for run in g.runs if run.outcome.status in ("completed", "diverged")}
        if missing := [of for of in by if of not in settled]:
            raise ConfigError(f"{g.label}: seed {missing[0]} is not settled, and is one of those that choose")
    chosen, notes = tune(choosing, keys, groups)
    told = "chose, and does not judge" if len(by) == 1 else "chose, and do not judge"
    return chosen, [f"{notes[0]}; {named_seeds(by)} {told}", *notes[1:]]


def tune_apart(groups: Sequence[Group], keys: Sequence[str], by: Sequence[int]) -> tuple[list[Group], list[str]]:
    """What `tune` chooses by these seeds, with the runs of all others, which judge it.

    Raises:
        ConfigError: as for `choose` and `with_other_seeds`, or none of a group's runs is of these seeds.
    """
    alike = buckets(groups, keys)
    for named, same in zip(rename([same[0] for same in alike], without=keys), alike, strict=True):
        if not any(seed(run) in by for g in same for run in g.runs):
            raise ConfigError(f"{named.label}: must have runs of {named_seeds(by)}, which it is tuned by")
    chosen, notes = choose(groups, keys, by)
    return with_other_seeds(chosen, groups, by), notes


def with_other_seeds(chosen: Sequence[Group], groups: Sequence[Group], by: Sequence[int]) -> list[Group]:
    """The chosen with their runs of all seeds but these, so that what is said of them was not selected for.

    Args:
        chosen: as `choose` gives them.
        groups: with the runs of all seeds.
        by: the seeds that chose.

    Raises:
        ConfigError: there are no others.
    """
    others = {_identity(g): [run for run in g.runs if seed(run) not in by] for g in groups}
    judged = [replace(g, runs=others[_identity(g)]) for g in chosen]
    if missing := [g.name for g in judged if not g.runs]:
        raise ConfigError(f"no runs of {listed(missing)} with other seeds than the {len(by)} that chose")
    return judged


def _identity(group: Group) -> str:
    """The same for a group with other runs, and under another name."""
    return identity(settings_of(group.runs[0]))


def named_seeds(seeds: Sequence[int]) -> str:
    """``seed 1``, ``seeds 1, 2, 3``."""
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {listed(list(map(str, seeds)))}"


def _at_ends(key: str, tried: Sequence[tuple[Group, Sequence[Any]]]) -> list[str]:
    """A line for the groups whose value of the key is the lowest of those tried, and one for the highest."""
    ends: dict[str, list[str]] = {"lowest": [], "highest": []}
    for g, several in tried:
        numbers = [value for value in several if isinstance(value, int | float)]
        if len(set(numbers)) > 1 and g.tuned[key] in (min(numbers), max(numbers)):
            end = "lowest" if g.tuned[key] == min(numbers) else "highest"
            ends[end].append(f"{g.label} ({brief(g.tuned[key])})")
    return [f"best at the {end} {key} that was tried: {listed(at, most=24)}" for end, at in ends.items() if at]


def monitored(groups: Sequence[Group]) -> str:
    """The metric by which the first run was told to judge: val/acc or val/loss of a classifier."""
    metric, among = groups[0].runs[0].plan.config.get("metric"), groups[0].metrics.monitored
    return str(metric) if metric in among else among[0]


def best_groups(groups: Sequence[Group], count: int) -> tuple[list[Group], str]:
    """As many groups as validate best, in their order, and the metric by which they do."""
    metric = monitored(groups)
    ranked = sorted(groups, key=lambda g: validates(g, metric), reverse=True)
    labels = {g.label for g in ranked[:count]}
    return [g for g in groups if g.label in labels], metric


def validates(group: Group, metric: str) -> tuple[bool, float]:
    """A key to sort groups by: how well they validate."""
    values, whole = group.final(metric), len(group.completed) == len(group.runs)
    if not values.size or not np.isfinite(values).all():
        return whole, -math.inf
    return whole, float(values.mean() if group.metrics[metric].better == "higher" else -values.mean())
