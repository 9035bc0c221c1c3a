"""Groups to a comparison: their measures, and how they differ from those of a baseline."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import pandas as pd

from lrdecay.analysis.baselines import baseline_targets, find_baselines
from lrdecay.analysis.groups import Group, group_records, metrics_of_groups
from lrdecay.analysis.inference import LEVEL, Difference, bootstrap, difference, estimate, holm, proportion
from lrdecay.analysis.measures import Measure, Targets, measures_of
from lrdecay.analysis.notes import notes_on
from lrdecay.analysis.power import seeds_to_decide, seeds_wanted
from lrdecay.analysis.sampling import ItemsOf, items_by_seed, sampling
from lrdecay.analysis.tuning import named_seeds, tune_apart, tune_by_all
from lrdecay.errors import ConfigError
from lrdecay.metrics import Metrics
from lrdecay.records.record import Record
from lrdecay.text import format_seconds, plural

SIGNIFICANT = 1 - LEVEL
MOST_OPEN = 6
NEW_SEEDS, NEW_DATA = "new seeds", "new seeds and new data"
"""What a difference's interval holds for."""


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

    @cached_property
    def metrics(self) -> Metrics:
        """What the runs measure."""
        return metrics_of_groups(self.groups)

    @property
    def measures(self) -> dict[str, Measure]:
        """What the groups are compared by, by name."""
        return measures_of(self.metrics)

    @property
    def tested(self) -> list[Group]:
        """The groups that have a baseline other than themselves."""
        return [g for g in self.groups if self.baselines.get(g.label, g) is not g]

    @property
    def title(self) -> str:
        runs = sum(len(g.runs) for g in self.groups)
        data = " ".join(self.data.split())[:80]
        seconds = sum(run.progress.seconds for g in self.groups for run in g.runs)
        trained = f", {format_seconds(seconds)} of training" if seconds >= 1 else ""
        return f"{data}: {plural(runs, 'run')} in {plural(len(self.groups), 'group')}{trained}"


def compare_groups(
    data: str, groups: Sequence[Group], baseline: str | None = None, notes: Sequence[str] = ()
) -> Comparison:
    """Every group's measures, and how they differ from those of its baseline.

    Args:
        data: the data set.
        groups: as `group_records` or `tune_by_all` gives them.
        baseline: see `lrdecay.analysis.baselines.find_baselines`.
        notes: to be put before those found here.

    Raises:
        ConfigError: there is no such baseline.
    """
    baselines, found = find_baselines(groups, baseline)
    targets = {g.label: baseline_targets(baselines.get(g.label)) for g in groups}
    by_label = {g.label: g for g in groups}
    of_others = {baseline.label for label, baseline in baselines.items() if baseline.label != label}

    @cache  # for all the groups that have the same one
    def baseline_values(label: str, measure: str) -> dict[int, float]:
        return by_label[label].by_seed(measure, targets[label])

    @cache
    def baseline_items(label: str, measure: str) -> Mapping[int, np.ndarray]:
        return items_by_seed(by_label[label], measure)

    def items_of(group: Group, measure: str) -> Mapping[int, np.ndarray]:
        kept = group.label in of_others
        return baseline_items(group.label, measure) if kept else items_by_seed(group, measure)

    metrics = metrics_of_groups(groups)
    measures = measures_of(metrics)
    rows = [
        {"data": data, "group": g.name, "label": g.label, **row}
        for g in groups
        for row in _rows(g, baselines.get(g.label), measures, targets[g.label], baseline_values, items_of)
    ]
    table = pd.DataFrame(rows)
    table["p Holm"] = table.groupby("measure")["p"].transform(holm)
    lost = {(row["label"], row["measure"]) for row in rows if row["n"] and row["missing"]}
    table["verdict"] = [
        _verdict(row, measures, by_label[row["label"]], baselines.get(row["label"]), lost)
        for row in table.to_dict("records")
    ]
    table = table.set_index(["label", "measure"], drop=False)
    said = [*notes, *found, *notes_on(groups, baselines)]
    said += [
        f"{row['label']}: {row['missing']} of {row['missing'] + row['n']} seeds have no {row['measure']}"
        for row in rows
        if row["measure"] in metrics.leading and (row["label"], row["measure"]) in lost
    ]
    comparison = Comparison(data, list(groups), baselines, targets, table, said)
    said += _open(comparison, items_of)
    return comparison


def compare_records(
    records: Iterable[Record],
    baseline: str | None = None,
    tuned_over: Sequence[str] = (),
    tuned_by: Sequence[int] = (),
    cut_short: bool = False,
) -> list[Comparison]:
    """A comparison for each data set.

    Args:
        records: the runs.
        baseline: see `lrdecay.analysis.baselines.find_baselines`.
        tuned_over: see `lrdecay.analysis.tuning.tune`.
        tuned_by: the seeds that choose, and do not judge; all do both if there are none.
        cut_short: see `group_records`.

    Raises:
        ConfigError: there is no such baseline, key or seed; where there are several data sets, it is named.
    """
    if tuned_by and not tuned_over:
        raise ConfigError(f"tuned by {named_seeds(tuned_by)}: must come with keys that are tuned over")
    by_data = group_records(records, cut_short)
    comparisons = []
    for data, groups in by_data.items():
        try:
            chosen, notes = _tuned(groups, tuned_over, tuned_by)
            comparisons.append(compare_groups(data, chosen, baseline, notes))
        except ConfigError as error:
            raise ConfigError(f"{data}: {error}" if len(by_data) > 1 else str(error)) from error
    return comparisons


def _tuned(groups: list[Group], keys: Sequence[str], by: Sequence[int]) -> tuple[list[Group], list[str]]:
    if not keys:
        return groups, []
    return tune_apart(groups, keys, by) if by else tune_by_all(groups, keys)


def _rows(
    group: Group,
    baseline: Group | None,
    measures: Mapping[str, Measure],
    targets: Targets,
    baseline_values: Callable[[str, str], Mapping[int, float]],
    items_of: ItemsOf,
) -> Iterable[dict[str, Any]]:
    for name, measure in measures.items():
        values = group.by_seed(name, targets)
        there = [value for value in values.values() if math.isfinite(value)]
        found = estimate(there)
        low, high = bootstrap(there)
        best, worst = (max, min) if measure.better == "higher" else (min, max)
        row = {"measure": name, "n": found.n, "missing": len(values) - found.n}
        row |= {"mean": found.mean, "low": found.low, "high": found.high}
        row |= {"bootstrap low": low, "bootstrap high": high}
        row |= {"best": best(there, default=math.nan), "worst": worst(there, default=math.nan)}
        against = None if baseline is None or baseline is group else baseline
        other = baseline_values(against.label, name) if against else {}
        to = difference(values, other, sampling=sampling(group, against, name, items_of) if against else None)
        yield row | {"baseline": against.name if against else "", **_difference_columns(to)}
    rate = proportion(len(group.diverged), len({*map(id, group.completed), *map(id, group.diverged)}))
    yield {"measure": "diverged", "n": rate.n, "missing": 0, "mean": rate.mean, "low": rate.low, "high": rate.high}


def _difference_columns(to: Difference) -> dict[str, Any]:
    ends = {"difference": to.mean, "difference low": to.low, "difference high": to.high}
    covers = (NEW_DATA if to.new_data else NEW_SEEDS) if math.isfinite(to.low) else ""
    return ends | {"pairs": to.n, "paired": to.paired, "covers": covers, "p": to.p}


def _verdict(
    row: Mapping[str, Any],
    measures: Mapping[str, Measure],
    group: Group,
    baseline: Group | None,
    lost: Collection[tuple[str, str]],
) -> str:
    """``better``, ``worse`` or ``no difference shown``; nothing where there was nothing to compare with.

    Where runs of the one that seems better diverged, or have no such value (`lost`, by label and measure), those that
    are left are a selection, which proves nothing. Where they were the other's, it is better all the same: the
    selection is to the other's advantage.
    """
    if baseline is None or baseline is group or row["measure"] not in measures:
        return ""
    if not math.isfinite(row["p Holm"]):
        return "not tested"
    if row["p Holm"] >= SIGNIFICANT:
        return "no difference shown"
    better = measures[row["measure"]].gain(row["difference"]) > 0
    winner = group if better else baseline
    if winner.diverged or (winner.label, row["measure"]) in lost:
        return "not tested"
    return "better" if better else "worse"


def _open(comparison: Comparison, items_of: ItemsOf) -> list[str]:
    """How many seeds would decide what is open of the first metric, and what they would cost."""
    measure = first_metric(comparison)
    undecided = [g for g in comparison.tested if comparison.row(g, measure)["verdict"] == "no difference shown"]
    alpha = SIGNIFICANT / max(len(comparison.tested), 1)
    words: list[str] = []
    more: dict[str, tuple[Group, float]] = {}  # a baseline that several groups share is run once more, not for each
    for g in undecided[:MOST_OPEN]:
        baseline, targets = comparison.baselines[g.label], comparison.targets[g.label]
        sides = g.by_seed(measure, targets), baseline.by_seed(measure, targets)
        found = difference(*sides, sampling=sampling(g, baseline, measure, items_of))
        seeds = seeds_to_decide(found, lambda n: alpha, [abs(found.mean)])
        words.append(f"{g.name} {seeds_wanted(seeds)}")
        if seeds is not None and math.isfinite(seeds):
            for one in (g, baseline):
                more[one.label] = one, max(seeds - found.n, more.get(one.label, (one, 0.0))[1])
    if not words:
        return []
    others = f" and {len(undecided) - MOST_OPEN} more" if len(undecided) > MOST_OPEN else ""
    seconds = sum(count * np.mean([run.progress.seconds for run in one.completed]) for one, count in more.values())
    cost = f"; {format_seconds(float(seconds))} of training more" if more else ""
    return [
        f"open in {measure}, and what would decide it (80% power, were the difference as measured): "
        f"{', '.join(words)}{others}{cost}"
    ]


def first_metric(comparison: Comparison) -> str:
    """The metric by which the groups are judged first: the first of the test set, where it was measured."""
    first = comparison.metrics.leading[0]
    measured = any(comparison.row(g, first)["n"] for g in comparison.tested)
    return first if measured else comparison.metrics.monitored[0]
