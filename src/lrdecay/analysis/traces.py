"""Rates and losses of runs, from records or from a CSV of anybody's, as a law is fitted to them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lrdecay.analysis.groups import settings_of
from lrdecay.errors import ConfigError
from lrdecay.records.record import Record
from lrdecay.text import listed, plural
from lrdecay.theory.law import SAME_PEAK, Trace

FREE = ("schedule.", "scale.", "optimizer.lr", "trainer.max_epochs", "trainer.max_steps")
"""Keys, or how they begin, in which runs of one law may differ; their peak rates are compared themselves."""
COLUMNS = {
    "step": ("step", "global_step", "trainer/global_step", "iteration"),
    "rate": ("rate", "lr", "learning_rate", "train/learning_rate"),
    "loss": ("loss", "val/loss", "val_loss", "eval/loss", "valid_loss", "train/loss"),
    "run": ("run", "name", "run_id"),
}
"""What a column is called, as a rule; the first that is there is taken."""
MOST_UNKNOWN = 0.05
"""The part of a run over which its rate may be unknown, between two rows or before the first."""


def of_records(records: Sequence[Record], metric: str, peak: float | None = None) -> list[Trace]:
    """Traces of the runs that completed as planned.

    Args:
        records: on one data set, alike in all but their schedules, lengths and seeds.
        metric: the loss: val/loss or train/loss.
        peak: takes those of this peak rate alone.

    Raises:
        ConfigError: they are not alike.
    """
    whole = [run for run in records if run.outcome.status == "completed" and run.whole and run.progress.rates]
    if peak is not None:
        whole = [run for run in whole if np.isclose(max(rate for _, rate in run.progress.rates), peak, rtol=SAME_PEAK)]
    if not whole:
        at = f" at the peak rate {peak:g}" if peak is not None else ""
        raise ConfigError(
            f"the law: must have runs that completed as planned{at}, and there are none of {len(records)}"
        )
    data = sorted({str(run.plan.data) for run in whole})
    if len(data) > 1:
        raise ConfigError(f"the law: must be fitted to runs on one data set, not {', '.join(data)}")
    settings = [{key: v for key, v in settings_of(run).items() if not key.startswith(FREE)} for run in whole]
    keys = sorted({key for own in settings for key in own if len({repr(other.get(key)) for other in settings}) > 1})
    if keys:
        raise ConfigError(
            f"the law: must be fitted to runs that differ in schedule, length and seed only, not in {listed(keys)}"
        )
    return [_of_record(run, metric) for run in whole]


def _of_record(run: Record, metric: str) -> Trace:
    steps, rates = map(np.array, zip(*run.progress.rates, strict=True))
    measured = {
        int(row["step"] or 0) + 1: row.get(metric) for row in run.progress.epochs if row.get("step") is not None
    }
    losses = {step: float(loss) for step, loss in measured.items() if loss is not None}
    if not losses:
        raise ConfigError(f"{run.directory.name}: has no {metric}, which the law is to be fitted to")
    # A record has some two hundred of the rates; between them they are taken to be linear.
    every = np.interp(np.arange(max(losses)), steps, rates)
    return Trace(
        run.directory.name, every, np.array(sorted(losses)), np.array([losses[step] for step in sorted(losses)])
    )


def of_csv(path: Path, named: Mapping[str, str] = {}, peak: float | None = None) -> list[Trace]:
    """Traces of a CSV of one run or of several: a row for each logged step, without a loss where none was measured.

    Args:
        path: the file.
        named: what its columns are called, by `COLUMNS`.
        peak: takes the runs of this peak rate alone.

    Raises:
        ConfigError: it has not what is needed.
    """
    try:
        table = pd.read_csv(path)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ConfigError(
            f"{path}: must be a CSV with columns step, rate and loss ({' '.join(str(error).split())})"
        ) from error
    columns = {what: _column(path, table, what, named.get(what)) for what in COLUMNS}
    for what in ("step", "rate", "loss"):
        column = columns[what]
        if not pd.api.types.is_numeric_dtype(table[column]):
            raise ConfigError(f"{path}: column {column} must hold numbers")
    runs = table.groupby(columns["run"], sort=False) if columns["run"] else [(path.stem, table)]
    traces = [_of_table(f"{path.name}: run {name}", str(name), rows, columns) for name, rows in runs]
    if peak is None:
        return traces
    kept = [trace for trace in traces if np.isclose(trace.rates.max(), peak, rtol=SAME_PEAK)]
    if not kept:
        raise ConfigError(f"{path}: none of its {plural(len(traces), 'run')} has the peak rate {peak:g}")
    return kept


def _column(path: Path, table: pd.DataFrame, what: str, named: str | None) -> str:
    if named is not None and named not in table.columns:
        raise ConfigError(f"{path}: has no column {named}; its columns are {listed(list(map(str, table.columns)))}")
    by_name = {str(column).strip().lower(): str(column) for column in table.columns}
    found = named or next((by_name[usual] for usual in COLUMNS[what] if usual in by_name), "")
    if not found and what != "run":
        usual = listed(list(COLUMNS[what]))
        raise ConfigError(
            f"{path}: must have a column for the {what}, such as {usual}; --columns {what}=NAME names another"
        )
    return found


def _of_table(where: str, name: str, rows: pd.DataFrame, columns: Mapping[str, str]) -> Trace:
    steps, rates, losses = (rows[columns[what]].to_numpy(dtype=float) for what in ("step", "rate", "loss"))
    if not np.isfinite(steps).all() or (steps < 0).any() or (np.diff(steps) <= 0).any():
        raise ConfigError(f"{where}: its steps must be numbers that rise")
    if (rates < 0).any():
        raise ConfigError(f"{where}: its rates must not be below 0")
    if (losses <= 0).any() or np.isinf(losses).any():
        raise ConfigError(f"{where}: its losses must be finite and above 0")
    known, measured = np.isfinite(rates), np.isfinite(losses)
    if not measured.any() or not known.any():
        raise ConfigError(f"{where}: must have losses and rates")
    last = int(steps[measured][-1])
    gap = float(np.diff([0, *steps[known], max(last, steps[known][-1])]).max())
    if gap > MOST_UNKNOWN * last:
        raise ConfigError(f"{where}: its rate is unknown for {gap:.0f} of {last} steps; it must be logged throughout")
    every = np.interp(np.arange(last), steps[known], rates[known])
    return Trace(name, every, steps[measured].astype(np.int64), losses[measured])
