"""A comparison written down: on the terminal, and as ``comparison.csv``, ``comparison.png`` and ``report.html``."""

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from lrdecay.analysis.comparison import NEW_SEEDS, Comparison, compare_records, first_metric
from lrdecay.analysis.groups import Group
from lrdecay.analysis.inference import interval
from lrdecay.analysis.measures import Measure, said
from lrdecay.analysis.tuning import best_groups
from lrdecay.errors import ConfigError
from lrdecay.files import write_atomically
from lrdecay.records.record import Record
from lrdecay.reports.console import wide
from lrdecay.reports.figures import comparison_figure
from lrdecay.reports.page import page
from lrdecay.reports.prediction import section
from lrdecay.text import listed

MOST_DRAWN = 16
MOST_PRINTED = 100
FORMATS = ("png", "pdf", "svg")
PRINTED = 3
"""Metrics of the final weights; a narrow terminal has room for one fewer."""
MOST = 6
"""Groups that a line names."""
VERDICTS = ("better", "worse", "no difference shown", "not tested")


def report(
    records: Iterable[Record],
    output: Path,
    baseline: str | None = None,
    tuned_over: Sequence[str] = (),
    tuned_by: Sequence[int] = (),
    formats: Sequence[str] = ("png",),
    columns: Sequence[int] = (),
    cut_short: bool = False,
) -> list[Path]:
    """Says what a comparison shows, and writes a table of all data sets, and a page and figures for each.

    Args:
        records: the runs.
        output: the folder for the files.
        baseline: see `lrdecay.analysis.baselines.find_baselines`.
        tuned_over: see `lrdecay.analysis.tuning.tune`.
        tuned_by: see `lrdecay.analysis.comparison.compare_records`.
        formats: of the figures, among `FORMATS`.
        columns: widths of a paper, 1 or 2, for which figures are drawn too.
        cut_short: see `lrdecay.analysis.groups.group_records`.

    Returns:
        The files written.

    Raises:
        OSError: they cannot be written.
        ConfigError: there is no such baseline, key or seed.
    """
    comparisons = compare_records(records, baseline, tuned_over, tuned_by, cut_short)
    console = wide()
    for comparison in comparisons:
        console.print(Text(f"\n{headline(comparison)}", style="bold"), soft_wrap=True)
        console.print(table(comparison, PRINTED if console.width >= 100 else PRINTED - 1))
        for line in _lines(comparison):
            console.print(Text(line), soft_wrap=True)
    if not comparisons:
        return []
    output.mkdir(parents=True, exist_ok=True)
    files = {output / "comparison.csv": comparison_csv(comparisons).encode()}
    for comparison, of in zip(comparisons, _suffixes([comparison.data for comparison in comparisons]), strict=True):
        if any(g.completed for g in comparison.groups):
            for form in formats:
                for width in (None, *columns):
                    name = f"comparison{of}.{form}" if width is None else f"comparison{of}-{width}column.{form}"
                    files[output / name] = comparison_figure(*_drawn(comparison), form, width)
        files[output / f"report{of}.html"] = page(
            comparison, headline(comparison), intro(comparison), verdicts(comparison), "" if of else section(output)
        ).encode()
    for file, content in files.items():
        write_atomically(file, content)
    return list(files)


def _suffixes(names: list[str]) -> list[str]:
    """For the files of each data set, nothing where there is one; names come from records, which may be anybody's."""
    if len(names) == 1:
        return [""]
    safe = ["-" + re.sub(r"[^a-zA-Z0-9_-]", "-", name)[:60] for name in names]
    return [name + f"-{number}" * (name in safe[:number]) for number, name in enumerate(safe)]


def _drawn(comparison: Comparison) -> tuple[list[Group], str]:
    """As many groups as a figure can show, and its title."""
    if len(comparison.groups) <= MOST_DRAWN:
        return comparison.groups, comparison.title
    drawn, metric = best_groups(comparison.groups, MOST_DRAWN)
    return drawn, f"{comparison.title}, of which the {MOST_DRAWN} that validate best by {metric}"


def table(comparison: Comparison, most: int = PRINTED) -> Table:
    """Groups with their runs, final metrics with 95% intervals, best epoch and seconds per epoch."""
    metrics = comparison.metrics.leading[:most]
    grid = Table(title=Text(comparison.title), title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    grid.add_column("group", overflow="fold")
    grid.add_column("runs", justify="right")
    for metric in metrics:
        grid.add_column(Text(metric), justify="right", no_wrap=True)
    grid.add_column("best epoch", justify="right")
    grid.add_column("s/epoch", justify="right")
    groups, metric = best_groups(comparison.groups, MOST_PRINTED)
    if len(groups) < len(comparison.groups):
        grid.caption = f"the {len(groups)} that validate best by {metric}; comparison.csv has all"
    for g in groups:
        cells = [_cell(comparison, g, metric) for metric in metrics]
        grid.add_row(
            Text(g.name), g.counts(), *cells, _mean(g.best_epoch(), ".1f"), _mean(g.seconds_per_epoch(), ".2f")
        )
    return grid


def headline(comparison: Comparison) -> str:
    """The answer in one sentence: which groups end with the better accuracy, or first metric, and the better loss."""
    if not comparison.tested:
        return "Nothing to compare: there is one group" if len(comparison.groups) == 1 else "Nothing to compare with"
    names = dict.fromkeys([first_metric(comparison), *comparison.metrics.losses[:1]])
    clauses = [_clause(comparison, name) for name in names]
    return f"Against {_against(comparison)}: {'; '.join(clauses)}"


def _clause(comparison: Comparison, name: str) -> str:
    words: dict[str, list[str]] = {}
    for g in comparison.tested:
        words.setdefault(comparison.row(g, name)["verdict"], []).append(g.name)
    parts = [f"{_and(words[word])} {_are(words[word])} {word}" for word in ("better", "worse") if word in words]
    tested = any(math.isfinite(comparison.row(g, name)["p"]) for g in comparison.tested)
    lost = "runs diverged" if any(g.diverged for g in comparison.groups) else "runs have no value"
    why = f"since {lost}" if tested else "which takes two seeds"
    otherwise = "no difference shown" if "no difference shown" in words else f"nothing tested, {why},"
    return f"{' and '.join(parts) or otherwise} in {comparison.measures[name].aspect}"


def intro(comparison: Comparison) -> str:
    """What is compared with what, and how."""
    if not comparison.tested:
        return ""
    families = f", better and worse by Holm over {len(comparison.tested)} groups" if len(comparison.tested) > 1 else ""
    return (
        f"Differences from {_against(comparison)}, paired by seed, each with its own 95% interval"
        f"{_covered(comparison)}{families}"
    )


def _covered(comparison: Comparison) -> str:
    """What the intervals hold for."""
    covers = {name: comparison.row(g, name)["covers"] for g in comparison.tested for name in said(comparison.metrics)}
    found = set(covers.values()) - {""}
    if len(found) < 2:
        return f" for {found.pop()}" if found else ""
    return f" for {NEW_SEEDS}, of test metrics for new data too"


def _against(comparison: Comparison) -> str:
    names = {comparison.baselines[g.label].name for g in comparison.tested}
    return names.pop() if len(names) == 1 else "the baseline of each"


def _and(names: Sequence[str]) -> str:
    if len(names) > MOST:
        return listed(names, MOST)
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def verdicts(comparison: Comparison) -> dict[str, dict[str, str]]:
    """What can be said of the groups against their baselines: for each measure and word, the groups with numbers."""
    found: dict[str, dict[str, str]] = {}
    for name in said(comparison.metrics) if comparison.tested else ():
        by_word: dict[str, list[str]] = {}
        measure = comparison.measures[name]
        rows = [(g, comparison.row(g, name)) for g in comparison.tested]
        for g, row in sorted(rows, key=lambda pair: -np.nan_to_num(measure.gain(pair[1]["difference"]))):
            by_word.setdefault(row["verdict"], []).append(f"{g.name}{_numbers(measure, row)}")
        by_word.get("worse", []).reverse()  # those that differ most come first
        found[name] = {word: listed(by_word[word], MOST) for word in VERDICTS if word in by_word}
    return found


def _numbers(measure: Measure, row: pd.Series) -> str:
    """The difference, and its interval where there is one."""
    if not np.isfinite(row["difference"]):
        return ""
    text = measure.interval(row["difference"], row["difference low"], row["difference high"])
    alike = row["pairs"] > 1 and not np.isfinite(row["difference low"])
    return f" {text} (the same for every seed)" if alike else f" {text}"


def _lines(comparison: Comparison) -> list[str]:
    lines = [intro(comparison) + ":"] if comparison.tested else []
    for name, words in verdicts(comparison).items():
        text = "; ".join(f"{word}: {groups}" for word, groups in words.items())
        lines.append(f"  {name} ({comparison.measures[name].aspect}): {text}")
    return lines + [f"note: {note}" for note in comparison.notes]


def comparison_csv(comparisons: Sequence[Comparison]) -> str:
    """A row for each group and measure; empty where there is no number."""
    tables = [comparison.table.drop(columns="label") for comparison in comparisons]
    return str(pd.concat(tables).to_csv(index=False))


def _cell(comparison: Comparison, group: Group, metric: str) -> str:
    row, measure = comparison.row(group, metric), comparison.measures[metric]
    text = measure.text(row["mean"])
    return text if row["n"] < 2 else f"{text} ± {measure.difference((row['high'] - row['low']) / 2, '')}"


def _mean(values: np.ndarray, form: str) -> str:
    mean = float(interval(values)[0])
    return format(mean, form) if np.isfinite(mean) else "–"


def check_formats(formats: Sequence[str], columns: Sequence[str]) -> None:
    """Raises `ConfigError` for a format or a width that figures are not drawn in."""
    for option, values, allowed in (("format", formats, FORMATS), ("columns", columns, ("1", "2"))):
        for value in values:
            if value not in allowed:
                raise ConfigError(f"--{option}={value}: must be one of {', '.join(allowed)}")
