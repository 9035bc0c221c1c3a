"""Records to groups: runs that differ only in their seed are one."""

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lrdecay.analysis.inference import estimate
from lrdecay.analysis.measures import Targets, measures_of, number
from lrdecay.analysis.settings import differing, seed, settings_of, value_of
from lrdecay.errors import is_integer
from lrdecay.metrics import Metrics, merged
from lrdecay.records.identity import SINCE_ADDED, comparable, flatten, identity
from lrdecay.records.record import Record, RecordError, find, read
from lrdecay.text import brief, shortened

LABELLED_CHOICES = ("schedule", "scale", "optimizer", "module", "model", "trainer")
SYMBOLS = {"gamma": "γ"}


@dataclass(frozen=True)
class Group:
    """The runs of one configuration, whatever their seed.

    Attributes:
        label: what sets it apart from the groups it is compared with.
        data: the data set that was used.
        runs: the records, failed ones too.
        cut_short_count: whether completed runs that did not reach their planned end count too.
        differs: the same as values by key: of a configuration group, its choice.
        tuned: the keys that were chosen for it by validation, with their values.
    """

    label: str
    data: str
    runs: list[Record]
    differs: dict[str, Any] = field(default_factory=dict)
    tuned: dict[str, Any] = field(default_factory=dict)
    cut_short_count: bool = False

    @property
    def name(self) -> str:
        """The label with what was tuned: ``cosine (lr=0.003)``."""
        tuned = ", ".join(f"{_short(key)}={value}" for key, value in self.tuned.items() if value is not None)
        return f"{self.label} ({tuned})" if tuned else self.label

    @property
    def metrics(self) -> Metrics:
        """What its runs measure."""
        return merged(run.metrics for run in self.runs)

    @property
    def completed(self) -> list[Record]:
        """Those that reached the end that was planned, or, if those count too, to another."""
        return [run for run in self.runs if run.outcome.status == "completed" and (self.cut_short_count or run.whole)]

    @property
    def cut_short(self) -> list[Record]:
        """Those that completed, but ended elsewhere than planned."""
        return [run for run in self.runs if run.outcome.status == "completed" and not run.whole]

    @property
    def diverged(self) -> list[Record]:
        """Those that diverged, whether or not they continued."""
        return [run for run in self.runs if run.outcome.status == "diverged" or run.progress.divergence is not None]

    @property
    def epochs(self) -> np.ndarray:
        """Where the epochs of the longest completed run ended, in epochs."""
        longest = max(self.completed, key=lambda run: len(run.progress.epochs), default=None)
        return np.arange(0) if longest is None else ends_of_epochs(longest)

    def final(self, metric: str) -> np.ndarray:
        """The metric of the final weights of each completed run, NaN where it was not measured."""
        return np.array([number(run.outcome.final.get(metric)) for run in self.completed])

    def best_epoch(self) -> np.ndarray:
        """The epoch, counted from 1, with the best monitored metric, for each completed run."""
        return np.array([number(run.outcome.best.get("epoch")) + 1 for run in self.completed])

    def seconds_per_epoch(self) -> np.ndarray:
        """Training and validation, the median for each completed run: the first epoch also imports and tunes."""
        return np.array([statistics.median(run.progress.epoch_seconds or [np.nan]) for run in self.completed])

    def curve(self, metric: str) -> np.ndarray:
        """The metric after each epoch, completed runs × epochs; NaN where a run has no value."""
        values = np.full((len(self.completed), len(self.epochs)), np.nan)
        for row, run in zip(values, self.completed, strict=True):
            row[: len(run.progress.epochs)] = [number(epoch.get(metric)) for epoch in run.progress.epochs]
        return values

    def counts(self) -> str:
        """``3``, or ``2 of 3 (1 diverged)``, or ``2 of 3 (1 time limit)``."""
        completed = list(map(id, self.completed))
        others = sorted(run.outcome.ended_by or run.outcome.status for run in self.runs if id(run) not in completed)
        if not others:
            return str(len(self.runs))
        listed = ", ".join(f"{len(list(same))} {status}" for status, same in itertools.groupby(others))
        return f"{len(self.completed)} of {len(self.runs)} ({listed})"

    def by_seed(self, measure: str, targets: Targets) -> dict[int, float]:
        """The measure of the completed runs for each seed, the mean where a seed was run more than once."""
        values: dict[int, list[float]] = {}
        for run in self.completed:
            known = measures_of(run.metrics).get(measure)  # not in a run that has declared other metrics
            values.setdefault(seed(run), []).append(known.of(run, targets) if known else math.nan)
        return {of: _mean(several) for of, several in values.items()}


def _mean(several: Sequence[float]) -> float:
    if len(several) == 1:  # which most are, in comparisons of thousands
        return several[0] if math.isfinite(several[0]) else math.nan
    return estimate(several).mean


def load_records(paths: Iterable[Path]) -> tuple[list[Record], list[str]]:
    """Every record below the paths, and a line for each file that is not one."""
    records, problems = [], []
    for path in find(paths):
        try:
            record = read(path)
        except RecordError as error:
            problems.append(str(error))
            continue
        if is_integer(of := record.plan.config.get("seed")):
            records.append(record)
        else:
            problems.append(f"{path}: seed={shortened(of)}: must be an integer, because runs are paired by it")
    return records, problems


def group_records(records: Iterable[Record], cut_short: bool = False) -> dict[str, list[Group]]:
    """Groups for each data set, in the order of their first runs; data sets are never mixed.

    Args:
        records: the runs.
        cut_short: whether completed runs that did not reach their planned end count too. They do, where a data set
            has no others.
    """
    records = list(records)
    known = {record.plan.data for record in records if record.plan.data is not None}
    # A run that failed before its data set was known belongs to the only one there is.
    fallback = known.pop() if len(known) == 1 else "unknown data"
    members: dict[str, dict[str, list[Record]]] = {}
    for record in records:
        key = identity(settings_of(record))
        members.setdefault(record.plan.data or fallback, {}).setdefault(key, []).append(record)
    found = {}
    for data, same in members.items():
        count = cut_short or not any(run.whole for runs in same.values() for run in runs)
        found[data] = rename([Group("", data, runs, cut_short_count=count) for runs in same.values()])
    return found


def ends_of_epochs(run: Record) -> np.ndarray:
    """Where its epochs ended, in epochs: 1, 2, …, and the last one where the run ended, if that was within it."""
    rows, per_epoch = run.progress.epochs, run.plan.steps_per_epoch
    ends = np.arange(1.0, len(rows) + 1)
    if rows and per_epoch and math.isfinite(step := number(rows[-1].get("step"))):
        ends[-1] = min((step + 1) / per_epoch, ends[-1])
    return ends


def metrics_of_groups(groups: Iterable[Group]) -> Metrics:
    """What the runs of several groups measure.

    Raises:
        ConfigError: two of them say the contrary of a metric.
    """
    return merged(g.metrics for g in groups)


def buckets(groups: Sequence[Group], keys: Sequence[str]) -> list[list[Group]]:
    """The groups, those together that differ in these keys only."""
    found: dict[str, list[Group]] = {}
    for g in groups:
        rest = {key: value for key, value in settings_of(g.runs[0]).items() if key not in keys}
        found.setdefault(identity(rest), []).append(g)
    return list(found.values())


def matching(groups: Sequence[Group], name: str) -> list[Group]:
    """The group of that label, or else those whose labels have all of its words."""
    words = _plain(name).split()
    exact = [g for g in groups if _plain(g.label).split() == words]
    return exact or [g for g in groups if words and set(words) <= set(_plain(g.label).split())]


def _plain(label: str) -> str:
    """A label as it is compared: ``γ=0.10`` is ``gamma=0.1``."""
    for key, symbol in SYMBOLS.items():
        label = label.replace(f"{symbol}=", f"{key}=")
    return " ".join(_same_number(word) for word in label.split())


def _same_number(word: str) -> str:
    key, equals, value = word.partition("=")
    try:
        return f"{key}={float(value)}" if equals else word
    except ValueError:
        return word


def varied_keys(groups: Sequence[Group], settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The keys that are not the same in all of these groups."""
    return differing([settings[g.label] for g in groups])


def rename(groups: Sequence[Group], without: Sequence[str] = ()) -> list[Group]:
    """The groups with what distinguishes each from the others.

    First the choices of configuration groups that vary, then the keys that vary among the groups with the same choice:
    "step γ=0.5".

    Args:
        without: keys that do not count.
    """
    firsts = [g.runs[0] for g in groups]  # the others of a group differ in their seed only
    settings = [{key: value for key, value in settings_of(run).items() if key not in without} for run in firsts]
    choices = _choices_that_vary([run.plan.choices for run in firsts])
    keys = sorted({key for own in settings for key in own})
    # A key of the schedule distinguishes only groups with the same schedule: that "step" has γ and "cosine" has not
    # says no more than their names.
    values: dict[Any, set[str]] = {}
    for record, own in zip(firsts, map(comparable, settings), strict=True):
        for key in keys:
            values.setdefault(_rivals(key, record, choices), set()).add(repr(own.get(key)))
    named, labels = [], Counter[str]()
    for g, record, own in zip(groups, firsts, settings, strict=True):
        differs: dict[str, Any] = {name: record.plan.choices.get(name, "?") for name in choices}
        known = [key for key in keys if key in own or key in SINCE_ADDED]  # a key that only others have is no setting
        differs |= {key: value_of(own, key) for key in known if len(values[_rivals(key, record, choices)]) > 1}
        file = flatten(record.plan.config).get("schedule.csv")
        if "schedule.points" in differs and file is not None:  # which says it shorter
            differs["schedule.csv"] = file
            del differs["schedule.points"]
        label = _label(differs) or record.plan.choices.get("schedule", "all")
        labels[label] += 1
        number = f" #{labels[label]}" if labels[label] > 1 else ""
        named.append(replace(g, differs=differs, label=label + number))
    return named


def _choices_that_vary(chosen: Sequence[Mapping[str, Any]]) -> list[str]:
    """Those of groups, and of places within them (``schedule@schedule.second``) among the runs that have the place."""
    nested = sorted({name for own in chosen for name in own if "@" in name})
    varying = [name for name in LABELLED_CHOICES if len({own.get(name) for own in chosen}) > 1]
    return varying + [name for name in nested if len({own[name] for own in chosen if name in own}) > 1]


def _rivals(key: str, record: Record, choices: Sequence[str]) -> tuple[str, str | None]:
    """The key with what it varies among: groups of the same choice, where it belongs to choices that vary.

    A choice is that of a group, ``schedule``, or of a place within one, ``schedule@schedule.second``.
    """
    of = [record.plan.choices.get(n, "?") for n in choices if f"{key}.".startswith(f"{n.split('@')[-1]}.")]
    return key, " ".join(of) or None


def _label(differs: Mapping[str, Any]) -> str:
    # No choice adds nothing, and schedule=plateau chooses scale=plateau itself.
    chosen = [brief(value) for key, value in differs.items() if key in LABELLED_CHOICES and value not in ("none", "?")]
    values = {key: value for key, value in differs.items() if key not in LABELLED_CHOICES and value != "?"}
    keys = [f"{_short(key, values)}={brief(value)}" for key, value in values.items()]
    return " ".join([*dict.fromkeys(chosen), *keys])


def _short(key: str, among: Iterable[str] = ()) -> str:
    """The last part of a key, or as many as no other of these has: ``lr``, or ``optimizer.lr`` beside ``module.lr``."""
    parts = key.split(".")
    others = [other.split(".") for other in among if other != key]
    own = next((n for n in range(1, len(parts)) if all(other[-n:] != parts[-n:] for other in others)), len(parts))
    name = ".".join(parts[-own:])
    if "@scheduled." in key:  # a schedule of it, and not its value
        name = f"scheduled.{parts[-1]}"
    return SYMBOLS.get(name, brief(name))
