"""A comparison written down: the table in the terminal, ``comparison.csv`` and ``comparison.png``."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from rich import get_console
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lrdecay.compare import Group, group, interval
from lrdecay.console import format_metric, plural
from lrdecay.figures import comparison_figure
from lrdecay.record import Record, write_atomically

METRICS = ("val/acc", "val/loss", "test/acc")


def report(records: Iterable[Record], output: Path) -> list[Path]:
    """Prints a table for each data set, and writes ``comparison.csv`` and a figure for each into `output`.

    Returns:
        The files written.

    Raises:
        OSError: they cannot be written.
    """
    by_data = group(records)
    console = get_console()
    if not console.is_terminal:
        console = Console(width=120)  # a file has no width, and rich would take 80
    for data, groups in by_data.items():
        console.print(table(data, groups, METRICS if console.width >= 100 else METRICS[:2]))
    output.mkdir(parents=True, exist_ok=True)
    files = [output / "comparison.csv"]
    write_atomically(files[0], comparison_csv(by_data).encode())
    for data, groups in by_data.items():
        if any(g.completed for g in groups):
            # The name comes from a record, which may be anybody's.
            safe = re.sub(r"[^a-zA-Z0-9_-]", "-", data)
            name = "comparison.png" if len(by_data) == 1 else f"comparison-{safe}.png"
            write_atomically(output / name, comparison_figure(groups, _title(data, groups)))
            files.append(output / name)
    return files


def table(data: str, groups: Sequence[Group], metrics: Sequence[str] = METRICS) -> Table:
    """Groups with their runs, final metrics with 95% intervals, best epoch and seconds per epoch."""
    grid = Table(title=Text(_title(data, groups)), title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    grid.add_column("group", overflow="fold")
    grid.add_column("runs", justify="right")
    for metric in metrics:
        grid.add_column(metric, justify="right", no_wrap=True)
    grid.add_column("best epoch", justify="right")
    grid.add_column("s/epoch", justify="right")
    for g in groups:
        cells = [_cell(metric, g.final(metric)) for metric in metrics]
        grid.add_row(
            Text(g.label), g.counts(), *cells, _mean(g.best_epoch(), ".1f"), _mean(g.seconds_per_epoch(), ".2f")
        )
    return grid


def comparison_csv(by_data: Mapping[str, Sequence[Group]]) -> str:
    """One row a group: means and halves of the 95% intervals of the final metrics, empty where there is none."""
    text = io.StringIO()
    writer = csv.writer(text)
    statistics = [f"{metric} {part}" for metric in METRICS for part in ("mean", "±95%")]
    writer.writerow(["data", "group", "runs", "completed", *statistics, "best epoch", "seconds per epoch"])
    for data, groups in by_data.items():
        for g in groups:
            numbers = [number for metric in METRICS for number in interval(g.final(metric))]
            numbers += [interval(g.best_epoch())[0], interval(g.seconds_per_epoch())[0]]
            cells = [repr(float(number)) if np.isfinite(number) else "" for number in numbers]
            writer.writerow([data, g.label, len(g.runs), len(g.completed), *cells])
    return text.getvalue()


def _title(data: str, groups: Sequence[Group]) -> str:
    return f"{data}: {plural(sum(len(g.runs) for g in groups), 'run')} in {plural(len(groups), 'group')}"


def _cell(metric: str, values: np.ndarray) -> str:
    mean, half = (float(number) for number in interval(values))
    text = format_metric(metric, mean)
    if not np.isfinite(half):
        return text
    return f"{text} ± {100 * half:.2f}" if metric.endswith("acc") else f"{text} ± {half:.4f}"


def _mean(values: np.ndarray, form: str) -> str:
    mean = float(interval(values)[0])
    return format(mean, form) if np.isfinite(mean) else "–"
