"""Records to groups and statistics. Runs that differ only in their seed are one group."""

import itertools
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lrdecay.record import Record, RecordError, determining, find, read

LABELLED_CHOICES = ("schedule", "scale", "optimizer", "model", "trainer")


@dataclass(frozen=True)
class Group:
    """The runs of one configuration, whatever their seed.

    Attributes:
        label: what sets it apart from the groups it is compared with.
        data: the data set that was used.
        runs: the records, failed ones too.
    """

    label: str
    data: str
    runs: list[Record]

    @property
    def completed(self) -> list[Record]:
        return [run for run in self.runs if run.status == "completed"]

    @property
    def epochs(self) -> np.ndarray:
        """Epochs that the longest completed run finished, counted from 1."""
        return np.arange(1, 1 + max((len(run.epochs) for run in self.completed), default=0))

    def final(self, metric: str) -> np.ndarray:
        """The metric of the final weights of each completed run, NaN where it was not measured."""
        return np.array([_number(run.final.get(metric)) for run in self.completed])

    def best_epoch(self) -> np.ndarray:
        """The epoch, counted from 1, with the best monitored metric, for each completed run."""
        return np.array([_number(run.best.get("epoch")) + 1 for run in self.completed])

    def seconds_per_epoch(self) -> np.ndarray:
        """Training and validation, the median for each completed run: the first epoch also imports and tunes."""
        return np.array([statistics.median(run.epoch_seconds or [np.nan]) for run in self.completed])

    def curve(self, metric: str) -> np.ndarray:
        """The metric after each epoch, completed runs × epochs; NaN where a run has no value."""
        values = np.full((len(self.completed), len(self.epochs)), np.nan)
        for row, run in zip(values, self.completed, strict=True):
            row[: len(run.epochs)] = [_number(epoch.get(metric)) for epoch in run.epochs]
        return values

    def counts(self) -> str:
        """``3``, or ``2 of 3 (1 diverged)``."""
        if len(self.completed) == len(self.runs):
            return str(len(self.runs))
        others = sorted(run.status for run in self.runs if run.status != "completed")
        listed = ", ".join(f"{len(list(same))} {status}" for status, same in itertools.groupby(others))
        return f"{len(self.completed)} of {len(self.runs)} ({listed})"


def load(paths: Iterable[Path]) -> tuple[list[Record], list[str]]:
    """Every record below the paths, and a line for each file that is not one."""
    records, problems = [], []
    for path in find(paths):
        try:
            records.append(read(path))
        except RecordError as error:
            problems.append(str(error))
    return records, problems


def group(records: Iterable[Record]) -> dict[str, list[Group]]:
    """Groups for each data set, in the order of their first runs; data sets are never mixed."""
    records = list(records)
    known = {record.data for record in records if record.data is not None}
    # A run that failed before its data set was known belongs to the only one there is.
    fallback = known.pop() if len(known) == 1 else "unknown data"
    members: dict[str, dict[str, list[Record]]] = {}
    for record in records:
        key = repr(sorted(_settings(record).items()))
        members.setdefault(record.data or fallback, {}).setdefault(key, []).append(record)
    return {
        data: [
            Group(label, data, runs)
            for label, runs in zip(_labels([runs[0] for runs in same.values()]), same.values(), strict=True)
        ]
        for data, same in members.items()
    }


def interval(values: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the first axis and half the width of its t interval, NaN where there are fewer than two values.

    Args:
        values: runs × anything; NaN counts as missing.
        level: confidence.
    """
    from scipy.stats import t

    n = np.isfinite(values).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(values, axis=0) / n
        variance = np.nansum((values - mean) ** 2, axis=0) / (n - 1)
        half = t.ppf((1 + level) / 2, n - 1) * np.sqrt(variance / n)
    return np.where(n > 0, mean, np.nan), np.where(n > 1, half, np.nan)


def _settings(record: Record) -> dict[str, Any]:
    """What sets a group apart: everything that determines the result but the seed."""
    settings = {key: value for key, value in determining(record.config).items() if key != "seed"}
    extended = [row["step"] for row in record.resumed if "mode" in row]
    return settings | ({"extended_at": extended} if extended else {})


def _labels(firsts: Sequence[Record]) -> list[str]:
    """For each group, from one of its runs, what distinguishes it from the others.

    First the choices of configuration groups that vary, then ``key=value`` for the keys that vary among the groups
    with the same choice: "step gamma=0.5".
    """
    settings = [_settings(record) for record in firsts]
    varied = [name for name in LABELLED_CHOICES if len({record.choices.get(name) for record in firsts}) > 1]
    labels = []
    for record, own in zip(firsts, settings, strict=True):
        choices = [record.choices.get(name, "?") for name in varied]
        # No choice adds nothing, and schedule=plateau chooses scale=plateau itself.
        parts = list(dict.fromkeys(choice for choice in choices if choice not in ("none", "?")))
        for key in sorted({key for other in settings for key in other}):
            name = key.split(".")[0]
            rivals = [
                other.get(key)
                for rival, other in zip(firsts, settings, strict=True)
                if name not in varied or rival.choices.get(name) == record.choices.get(name)
            ]
            if any(value != own.get(key) for value in rivals):
                parts.append(f"{key.split('.')[-1]}={own.get(key)}")
        labels.append(" ".join(parts) or record.choices.get("schedule", "all"))
    return labels


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)
