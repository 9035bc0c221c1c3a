"""Rates and losses that any program wrote into a CSV, as a law is fitted to them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lrdecay.errors import ConfigError
from lrdecay.text import listed, plural
from lrdecay.theory.fitting import SAME_PEAK, Trace

COLUMNS = {
    "step": ("step", "global_step", "_step", "trainer/global_step", "train/global_step", "iteration"),
    "rate": ("rate", "lr", "learning_rate", "train/learning_rate"),
    "loss": ("loss", "val/loss", "val_loss", "eval/loss", "valid_loss", "train/loss"),
    "run": ("run", "name", "run_id"),
}
"""What a column is called, as a rule; the first that is there is taken."""
MOST_UNKNOWN = 0.05
"""The part of a run over which its rate may be unknown, between two rows or before the first."""
MOST_STEPS = 100_000_000
NOT_MEASURED = ("wall time", "_timestamp", "_runtime", "relative time (process)", "relative time (wall)")
"""Columns of exports that are never a rate or a loss."""


def of_csv(
    path: Path, named: Mapping[str, str] = {}, peak: float | None = None, rates: Path | None = None
) -> list[Trace]:
    """Traces of a CSV of one run or of several: a row for each logged step, without a loss where none was measured.

    Or of what TensorBoard and Weights & Biases export, a file for each chart: TensorBoard's of one run, with the
    columns Wall time, Step and Value; W&B's with a column for each run, ``run - metric``.

    Args:
        path: the file.
        named: what its columns are called, by `COLUMNS`.
        peak: takes the runs of this peak rate alone.
        rates: a file with the rates, where they are not in the other.

    Raises:
        ConfigError: a file has not what is needed.
    """
    if rates is None:
        table = _read(path, ("step", "rate", "loss"), named)
    else:
        losses, others = _read(path, ("step", "loss"), named), _read(rates, ("step", "rate"), named)
        table = _joined(path, losses, rates, others)
    runs = table.groupby("run", sort=False) if "run" in table else [(path.stem, table)]
    traces = [_of_table(f"{path.name}: run {name}", str(name), rows) for name, rows in runs]
    if peak is None:
        return traces
    kept = [trace for trace in traces if np.isclose(trace.rates.max(), peak, rtol=SAME_PEAK)]
    if not kept:
        raise ConfigError(f"{path}: none of its {plural(len(traces), 'run')} has the peak rate {peak:g}")
    return kept


def _read(path: Path, holds: Sequence[str], named: Mapping[str, str]) -> pd.DataFrame:
    """The columns for these, and for the run where there is one, under these names; a row for each run and step."""
    try:
        table = pd.read_csv(path)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: must be a CSV with columns {', '.join(holds)} ({reason})") from error
    table.columns = [str(column).strip() for column in table.columns]
    if twice := [name for name, count in Counter(table.columns).items() if count > 1]:
        raise ConfigError(f"{path}: must have each column once, and has {twice[0]} twice")
    table = _of_charts(path, table, named.get("step"))
    columns = {what: _column(path, table, what, named.get(what), holds) for what in ("run", *holds)}
    table = table[[column for column in columns.values() if column]].set_axis(
        [what for what, column in columns.items() if column], axis=1
    )
    if "run" in table and table["run"].isna().any():
        raise ConfigError(f"{path}: column {columns['run']} must name a run in every row")
    for what in holds:
        if not pd.api.types.is_numeric_dtype(table[what]):
            raise ConfigError(f"{path}: column {columns[what]} must hold numbers")
    return table


def _of_charts(path: Path, table: pd.DataFrame, step: str | None) -> pd.DataFrame:
    """Of W&B's charts, which have a column for each run, a table with one for each metric; any other as it is."""
    of_runs = [name for name in table.columns if " - " in name and not name.endswith(("__MIN", "__MAX"))]
    if not of_runs:
        return table
    step = _column(path, table, "step", step, ("step",))
    rows = table.melt(id_vars=[step], value_vars=of_runs).dropna(subset=["value"])
    rows[["run", "metric"]] = rows["variable"].str.rsplit(" - ", n=1, expand=True)
    rows = rows[~rows["metric"].str.lower().isin((*COLUMNS["step"], *NOT_MEASURED))]  # W&B's own of each run
    try:
        return rows.pivot(index=["run", step], columns="metric", values="value").reset_index()
    except ValueError as error:
        raise ConfigError(f"{path}: must have one row for each step of a run") from error


def _joined(path: Path, losses: pd.DataFrame, rates: Path, table: pd.DataFrame) -> pd.DataFrame:
    """The losses of one file with the rates of another, by run and step."""
    if ("run" in table) != ("run" in losses):
        raise ConfigError(f"{rates}: must tell its runs apart as {path} does, by a column for each or by their names")
    by = [key for key in ("run", "step") if key in losses]
    if lacking := sorted(set(losses.get("run", ())) - set(table.get("run", ()))):
        raise ConfigError(f"{rates}: has no rates of {listed(list(map(str, lacking)))}, whose losses are in {path}")
    return losses.merge(table, on=by, how="outer").sort_values("step", kind="stable")


def _column(path: Path, table: pd.DataFrame, what: str, name: str | None, holds: Sequence[str]) -> str:
    """What a column is called: as named, as usual, or, where a file holds one quantity, the only one that is left."""
    if name is not None and name not in table.columns:
        raise ConfigError(f"{path}: has no column {name}; its columns are {listed(list(table.columns))}")
    by_name = {column.lower(): column for column in table.columns}
    found = name or next((by_name[usual] for usual in COLUMNS[what] if usual in by_name), "")
    if not found and what != "step" and len(holds) == 2:
        known = {*COLUMNS["run"], *COLUMNS["step"], *NOT_MEASURED}
        left = [column for key, column in by_name.items() if key not in known]
        found = left[0] if what != "run" and len(left) == 1 else ""
    if not found and what != "run":
        usual = listed(list(COLUMNS[what]))
        raise ConfigError(
            f"{path}: must have a column for the {what}, such as {usual}; --columns {what}=NAME names another"
        )
    return found


def _of_table(where: str, name: str, rows: pd.DataFrame) -> Trace:
    steps, rates, losses = (rows[what].to_numpy(dtype=float) for what in ("step", "rate", "loss"))
    if not np.isfinite(steps).all() or (steps < 0).any() or (np.diff(steps) <= 0).any():
        raise ConfigError(f"{where}: its steps must be numbers that rise")
    if (rates < 0).any():
        raise ConfigError(f"{where}: its rates must not be below 0")
    if (losses <= 0).any() or np.isinf(losses).any():
        raise ConfigError(f"{where}: its losses must be finite and above 0")
    known, measured = np.isfinite(rates), np.isfinite(losses) & (steps > 0)  # at step 0 the law has no value
    if not measured.any() or not known.any():
        raise ConfigError(f"{where}: must have rates, and losses after step 0")
    last = int(steps[measured][-1])
    if last > MOST_STEPS:
        raise ConfigError(f"{where}: must have at most {MOST_STEPS:,} steps, not {last:,}")
    gap = float(np.diff([0, *steps[known], max(last, steps[known][-1])]).max())
    if gap > MOST_UNKNOWN * last:
        raise ConfigError(f"{where}: its rate is unknown for {gap:.0f} of {last} steps; it must be logged throughout")
    every = np.interp(np.arange(last), steps[known], rates[known])
    return Trace(name, every, steps[measured].astype(np.int64), losses[measured])
