"""Groups to a comparison: their measures, and how they differ from those of a baseline."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import pandas as pd

from lrdecay.analysis.groups import Group, group_records, matching, seed, settings_of, varied_keys
from lrdecay.analysis.inference import LEVEL, Difference, bootstrap, difference, estimate, holm, proportion
from lrdecay.analysis.measures import MEASURES, Targets
from lrdecay.analysis.tuning import tune
from lrdecay.errors import ConfigError
from lrdecay.metrics import MONITORED
from lrdecay.records.record import Record
from lrdecay.text import listed, plural

SIGNIFICANT = 1 - LEVEL


@dataclass(frozen=True)
class Comparison:
    """Groups on one data set, each with its baseline.

    Attributes:
        baselines: for each group, by label, the one that it is compared with; itself for a baseline.
        targets: for each group, what it is to reach.
        table: a row for each group and measure, as `comparison.csv` has it.
        notes: what whoever reads it has to know, a line each.
    """

    data: str
    groups: list[Group]
    baselines: dict[str, Group]
    targets: dict[str, Targets]
    table: pd.DataFrame
    notes: list[str]

    def row(self, group: Group, measure: str) -> dict[str, Any]:
        """What the table has on a group and a measure, by column."""
        return self._rows[group.label, measure]

    @cached_property
    def _rows(self) -> dict[tuple[str, str], dict[str, Any]]:
        return {(row["label"], row["measure"]): row for row in self.table.to_dict("records")}

    @property
    def tested(self) -> list[Group]:
        """The groups that have a baseline other than themselves."""
        return [g for g in self.groups if self.baselines.get(g.label, g) is not g]

    @property
    def title(self) -> str:
        runs = sum(len(g.runs) for g in self.groups)
        data = " ".join(self.data.split())[:80]
        return f"{data}: {plural(runs, 'run')} in {plural(len(self.groups), 'group')}"


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
            raise ConfigError(f"--baseline={name}: must be one of {labels}, or words of some of them")
    else:
        candidates = [g for g in groups if _is_constant(g.runs[0])]
        if len(groups) > 1 and len(candidates) in (0, len(groups)):
            why = "no run is" if not candidates else "all runs are"
            candidates = [groups[0]]
            notes.append(f"{why} of a constant rate: the baseline is {groups[0].label}; --baseline names another")
    settings = {g.label: {k: repr(v) for k, v in settings_of(g.runs[0]).items() if k not in g.tuned} for g in groups}
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
    return run.plan.choices.get("schedule") == "constant" and run.plan.choices.get("scale", "none") == "none"


def compare_groups(
    data: str, groups: Sequence[Group], baseline: str | None = None, notes: Sequence[str] = ()
) -> Comparison:
    """Every group's measures, and how they differ from those of its baseline.

    Args:
        data: the data set.
        groups: as `group_records` or `tune` gives them.
        baseline: see `find_baselines`.
        notes: to be put before those found here.

    Raises:
        ConfigError: there is no such baseline.
    """
    baselines, found = find_baselines(groups, baseline)
    targets = {g.label: baseline_targets(baselines.get(g.label)) for g in groups}
    by_label = {g.label: g for g in groups}

    @cache  # for all the groups that have the same one
    def baseline_values(label: str, measure: str) -> dict[int, float]:
        return by_label[label].by_seed(measure, targets[label])

    rows = [
        {"data": data, "group": g.name, "label": g.label, **row}
        for g in groups
        for row in _rows(g, baselines.get(g.label), targets[g.label], baseline_values)
    ]
    table = pd.DataFrame(rows)
    table["p Holm"] = table.groupby("measure")["p"].transform(holm)
    table["verdict"] = [_verdict(row) for row in table.to_dict("records")]
    table = table.set_index(["label", "measure"], drop=False)
    return Comparison(data, list(groups), baselines, targets, table, [*notes, *found, *_notes(groups, baselines)])


def compare_records(
    records: Iterable[Record], baseline: str | None = None, tuned_over: Sequence[str] = (), cut_short: bool = False
) -> list[Comparison]:
    """A comparison for each data set.

    Args:
        records: the runs.
        baseline: see `find_baselines`.
        tuned_over: see `tune`.
        cut_short: see `group_records`.

    Raises:
        ConfigError: there is no such baseline or key; where there are several data sets, it is named.
    """
    by_data = group_records(records, cut_short)
    comparisons = []
    for data, groups in by_data.items():
        try:
            chosen, notes = tune(groups, tuned_over) if tuned_over else (groups, [])
            comparisons.append(compare_groups(data, chosen, baseline, notes))
        except ConfigError as error:
            raise ConfigError(f"{data}: {error}" if len(by_data) > 1 else str(error)) from error
    return comparisons


def baseline_targets(baseline: Group | None) -> Targets:
    """What the others are to reach: the baseline's mean final validation accuracy and loss."""
    if baseline is None or not baseline.completed:
        return {}
    targets = {metric: estimate(baseline.final(metric)).mean for metric in MONITORED}
    return targets | {"epochs": len(baseline.epochs)}


def _rows(
    group: Group,
    baseline: Group | None,
    targets: Targets,
    baseline_values: Callable[[str, str], Mapping[int, float]],
) -> Iterable[dict[str, Any]]:
    for name, measure in MEASURES.items():
        values = group.by_seed(name, targets)
        there = [value for value in values.values() if math.isfinite(value)]
        found = estimate(there)
        low, high = bootstrap(there)
        best, worst = (max, min) if measure.better == "higher" else (min, max)
        row = {"measure": name, "n": found.n, "mean": found.mean, "low": found.low, "high": found.high}
        row |= {"bootstrap low": low, "bootstrap high": high}
        row |= {"best": best(there, default=math.nan), "worst": worst(there, default=math.nan)}
        against = None if baseline is None or baseline is group else baseline
        other = baseline_values(against.label, name) if against else {}
        to = difference(values, other)
        yield row | {"baseline": against.name if against else "", **_difference_columns(to)}
    rate = proportion(len(group.diverged), len({*map(id, group.completed), *map(id, group.diverged)}))
    yield {"measure": "diverged", "n": rate.n, "mean": rate.mean, "low": rate.low, "high": rate.high}


def _difference_columns(to: Difference) -> dict[str, Any]:
    ends = {"difference": to.mean, "difference low": to.low, "difference high": to.high}
    return ends | {"pairs": to.n, "paired": to.paired, "p": to.p}


def _verdict(row: Mapping[str, Any]) -> str:
    """``better``, ``worse`` or ``no difference shown``; nothing where there was nothing to compare with."""
    if not row["baseline"] or row["measure"] not in MEASURES:
        return ""
    if not math.isfinite(row["p Holm"]):
        return "not tested"
    if row["p Holm"] >= SIGNIFICANT:
        return "no difference shown"
    return "better" if MEASURES[row["measure"]].gain(row["difference"]) > 0 else "worse"


def _notes(groups: Sequence[Group], baselines: Mapping[str, Group]) -> list[str]:
    notes = []
    for g in groups:
        notes += _cut_short(g)
        if not any(run.outcome.status == "completed" for run in g.runs):
            notes.append(f"{g.label}: no run completed")
        elif lost := sum(run.outcome.status == "diverged" for run in g.runs):
            notes.append(f"{g.label}: {lost} of {len(g.runs)} diverged, and have no part in its numbers")
        if went_on := sum(run.progress.divergence is not None for run in g.completed):
            notes.append(f"{g.label}: {went_on} of {len(g.runs)} had a loss that was not finite, and continued")
        notes += _pairing(g, baselines.get(g.label, g))
        twice = [of for of, count in Counter(map(seed, g.completed)).items() if count > 1]
        if twice:
            seeds = ", ".join(map(str, sorted(twice)))
            notes.append(f"{g.label}: seed {seeds} was run more than once, and counts once, with the mean")
        if len(lengths := sorted({len(run.progress.epochs) for run in g.completed})) > 1:
            notes.append(f"{g.label}: runs of {' and '.join(map(str, lengths))} epochs")
    completed = [run for g in groups for run in g.completed]
    planned = sorted({run.plan.total_steps for run in completed if run.plan.total_steps is not None})
    if len(planned) > 1:
        notes.append(f"runs of different lengths: {', '.join(f'{steps:,}' for steps in planned)} steps")
    if len({run.plan.code for run in completed}) > 1:
        notes.append("the runs are of different versions of the code")
    for name, what in (("device", "devices"), ("threads", "numbers of threads")):
        if len(there := sorted({str(getattr(run.plan, name)) for run in completed})) > 1:
            notes.append(f"the runs are of different {what}: {', '.join(there)}")
    compared = {g.label for g in groups if g.label in baselines and baselines[g.label] is not g}
    if compared and all(len({seed(run) for run in g.completed}) < 2 for g in groups):
        notes.append("one seed: there are no intervals and no tests; seed=1,2,3,4,5 gives them")
    return notes


def _cut_short(group: Group) -> list[str]:
    """What has to be said of runs that did not reach the end that was planned."""
    if not group.cut_short:
        return []
    runs = listed([f"seed {seed(run)} {run.cut_short}" for run in group.cut_short], most=4)
    if group.cut_short_count:
        return [f"{group.label}: {runs}; its schedule was cut off there"]
    return [f"{group.label}: {runs}; not averaged with whole runs, which --cut-short does"]


def _pairing(group: Group, baseline: Group) -> list[str]:
    """What has to be said where not all seeds of a group are among its baseline's."""
    seeds, others = ({seed(run) for run in g.completed} for g in (group, baseline))
    common = len(seeds & others)
    if not seeds or not others or common == len(seeds | others):
        return []
    if common < 2 <= min(len(seeds), len(others)):
        return [f"{group.label}: compared with {baseline.label} without pairs, for {common} of the seeds are in common"]
    return [f"{group.label}: {common} of its {len(seeds)} seeds are in common with {baseline.label}, and are compared"]
