"""Which group each other is compared with, and what it is to reach."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from lrdecay.analysis.groups import Group, matching, varied_keys
from lrdecay.analysis.inference import estimate
from lrdecay.analysis.measures import Targets
from lrdecay.analysis.settings import settings_of
from lrdecay.errors import BadValue, ConfigError
from lrdecay.records.identity import comparable
from lrdecay.records.record import Record
from lrdecay.schedules import Duration
from lrdecay.text import listed


def find_baselines(groups: Sequence[Group], name: str | None = None) -> tuple[dict[str, Group], list[str]]:
    """For each group, by label, its baseline, and what has to be said of the choice.

    Args:
        groups: all of one data set.
        name: a label, or words of one. If that names several groups, each other group is compared with the one that
            has the same values where those differ: with ``constant`` and several rates, that of its own rate.
            By default the constant schedule or, where there is none, the first group.

    Raises:
        ConfigError: no group is named so.
    """
    notes = []
    if name is not None:
        candidates = matching(groups, name)
        if not candidates or len(candidates) == len(groups) > 1:
            labels = listed([g.label for g in groups])
            raise ConfigError(f"--baseline={name}: must be one of {labels}, or words that occur in some of them")
    else:
        candidates = [g for g in groups if _is_constant(g.runs[0])]
        if len(groups) > 1 and len(candidates) in (0, len(groups)):
            why = "no run has" if not candidates else "all runs have"
            candidates = [groups[0]]
            notes.append(f"{why} a constant rate: the baseline is {groups[0].label}; --baseline names another")
    settings = {
        g.label: {k: repr(v) for k, v in comparable(settings_of(g.runs[0])).items() if k not in g.tuned} for g in groups
    }
    # Where several groups are candidates (a constant rate at each of five values, say), each other group is compared
    # with the one that has its own values: a key in which the candidates differ must match, but only if the group has
    # that key at all. A cosine has no warm-up curve of its own to match against a schedule-free optimizer's.
    apart = varied_keys(candidates, settings)
    are_candidates = {id(c) for c in candidates}

    @cache  # looked up, since there may be thousands of both
    def by_values(keys: tuple[str, ...]) -> dict[tuple[Any, ...], list[Group]]:
        found: dict[tuple[Any, ...], list[Group]] = {}
        for c in candidates:
            found.setdefault(tuple(settings[c.label].get(key) for key in keys), []).append(c)
        return found

    baselines = {}
    for g in groups:
        own = tuple(key for key in apart if key in settings[g.label])
        same = by_values(own).get(tuple(settings[g.label][key] for key in own), [])
        if id(g) in are_candidates:
            baselines[g.label] = g
        elif len(same) == 1:
            baselines[g.label] = same[0]
    if alone := [g.label for g in groups if candidates and g.label not in baselines]:
        names = listed([c.label for c in candidates])
        notes.append(f"without a baseline, no unique baseline among {names}: {listed(alone)}")
    return baselines, notes


def _is_constant(run: Record) -> bool:
    """Whether its rate stays as it is, but for a warm-up."""
    if run.plan.choices.get("schedule") != "constant" or run.plan.choices.get("scale", "none") != "none":
        return False
    schedule = run.plan.config.get("schedule")
    cooldown = schedule.get("cooldown") if isinstance(schedule, dict) else None
    try:
        return Duration.parse(cooldown or 0).value == 0
    except BadValue:  # of a run that could not begin
        return False


def baseline_targets(baseline: Group | None) -> Targets:
    """What the others are to reach: the baseline's mean final metrics of validation."""
    if baseline is None or not baseline.completed:
        return {}
    targets = {metric: estimate(baseline.final(metric)).mean for metric in baseline.metrics.monitored}
    return targets | {"epochs": len(baseline.epochs)}
