"""The page of a comparison: one file with everything in it, Plotly too, that asks nothing of a network."""

import html
import json
import math
import shlex
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np
from plotly.offline import get_plotlyjs

from lrdecay.analysis.comparison import Comparison
from lrdecay.analysis.groups import Group, ends_of_epochs
from lrdecay.analysis.inference import interval
from lrdecay.analysis.measures import measures, shown
from lrdecay.analysis.settings import seed
from lrdecay.analysis.tuning import best_groups
from lrdecay.commands import as_called
from lrdecay.config.overrides import flags_of
from lrdecay.metrics import Metrics
from lrdecay.records.record import Record
from lrdecay.reports.figures import COLOURS, limits

MOST_GROUPS, MOST_RUNS = 500, 2_000
MOST_POINTS, FEWEST_POINTS, ALL_POINTS = 200, 40, 20_000
"""Of a curve, and of a curve of all runs together."""
DARK = (
    "#e8e8ec", "#f0b429", "#5aa9e6", "#ff8552", "#3ddc97", "#e59ac4",
    "#9bd8ff", "#d96c9c", "#c9c95a", "#9a8cff", "#d178d1", "#a8a8a8",
)  # fmt: skip
"""The figures' colours, bright enough for a dark ground."""

Said = Mapping[str, Mapping[str, str]]


def page(comparison: Comparison, headline: str, intro: str, said: Said, prediction: str = "") -> str:
    """The page as HTML.

    Args:
        comparison: what it shows.
        headline: the verdict in a sentence.
        intro: how it was reached.
        said: for each measure, what is said of which groups.
        prediction: a section of HTML, or nothing.
    """
    comparison = _shown(comparison)
    verdict = {"headline": headline, "intro": intro, "said": said, "notes": comparison.notes}
    web = files("lrdecay.reports") / "web"
    parts = {name: (web / f"page.{name}").read_text(encoding="utf-8") for name in ("html", "css", "js")}
    return Template(parts["html"]).substitute(
        title=html.escape(comparison.title),
        version=version("lrdecay"),
        made=time.strftime("%Y-%m-%d %H:%M"),
        css=parts["css"],
        prediction=prediction,
        data=_json({"verdict": verdict, **_data(comparison)}),
        plotly=get_plotlyjs(),
        js=parts["js"],
    )


def _shown(comparison: Comparison) -> Comparison:
    """As much of a comparison as a browser can show: the groups that validate best, and their baselines."""
    groups, baselines = comparison.groups, comparison.baselines
    runs = sum(len(g.runs) for g in groups)
    count = min(MOST_GROUPS, max(len(groups) * MOST_RUNS // max(runs, 1), 1))
    if len(groups) <= count:
        return comparison
    chosen, metric = best_groups(groups, count)
    labels = {label for g in chosen for label in (g.label, baselines.get(g.label, g).label)}
    shown = [g for g in groups if g.label in labels]
    those = f"those that validate best by {metric}, and their baselines"
    note = f"shown are {len(shown):,} of {len(groups):,} groups: {those}; comparison.csv has all"
    return replace(comparison, groups=shown, notes=[note, *comparison.notes])


def _json(values: Any) -> str:
    """As JSON that cannot end the element it stands in."""
    text = json.dumps(_short(values), allow_nan=False, separators=(",", ":"), default=str)
    return text.replace("<", "\\u003c")


def _short(value: Any) -> Any:
    """Numbers with six digits, which no eye can tell from all of them; None for what is not a number."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, Mapping):
        return {key: _short(item) for key, item in value.items()}
    return [_short(item) for item in value] if isinstance(value, list | tuple | np.ndarray) else value


def _data(comparison: Comparison) -> dict[str, Any]:
    groups = comparison.groups
    most = int(np.clip(ALL_POINTS // sum(len(g.runs) for g in groups), FEWEST_POINTS, MOST_POINTS))
    return {
        "measures": {
            name: {"aspect": m.aspect, "better": m.better, "unit": m.unit, "meaning": m.meaning}
            for name, m in comparison.measures.items()
        },
        "shown": shown(comparison.metrics),
        "leading": comparison.metrics.leading[:3],
        "panels": [{**asdict(panel), "limits": limits(groups, panel)} for panel in comparison.metrics.panels],
        "colours": {"light": COLOURS, "dark": DARK},
        "keys": list(dict.fromkeys(key for g in groups for key in g.differs)),
        "groups": [_group(comparison, g, most) for g in groups],
        "runs": [
            _run(run, index, comparison, g, most) for index, g in enumerate(groups) for run in g.runs
        ],
    }  # fmt: skip


def _group(comparison: Comparison, group: Group, most: int) -> dict[str, Any]:
    rows = {
        name: {key: value for key, value in comparison.row(group, name).items() if key not in NAMES}
        for name in comparison.measures
    }
    rate = comparison.row(group, "diverged")
    baseline = comparison.baselines.get(group.label, group)
    points = _points(len(group.epochs), most)
    return {
        "name": group.name,
        "baseline": "" if baseline is group else baseline.name,
        "counts": group.counts(),
        "completed": len(group.completed),
        "diverged": {key: rate[key] for key in ("mean", "low", "high", "n")},
        "keys": {key: str(value) for key, value in group.differs.items()},
        "measures": rows,
        "x": group.epochs[points],
        "curves": {metric: _curve(group, metric, points) for metric in _drawn(comparison.metrics)},
        "rate": _rate(group),
    }


NAMES = ("data", "group", "label", "measure", "baseline")
"""Columns of the table that are no numbers of a measure."""


def _points(count: int, most: int) -> np.ndarray:
    """Indices of the epochs that are drawn."""
    return np.unique(np.linspace(0, count - 1, most).round().astype(int)) if count else np.arange(0)


def _curve(group: Group, metric: str, points: np.ndarray) -> dict[str, Any]:
    mean, half = (values[points] for values in interval(group.curve(metric)))
    band = {"low": mean - half, "high": mean + half} if np.isfinite(half).any() else {}
    return {"mean": mean} | band


def _rate(group: Group) -> dict[str, Any]:
    for run in group.runs:
        if run.progress.rates:
            return {
                "x": [step / (run.plan.steps_per_epoch or 1) for step, _ in run.progress.rates],
                "y": [r for _, r in run.progress.rates],
            }
    return {"x": [], "y": []}


def _drawn(metrics: Metrics) -> list[str]:
    """The metrics whose curves are drawn."""
    return [name for panel in metrics.panels for name in (panel.train, panel.val) if name]


def _run(run: Record, index: int, comparison: Comparison, group: Group, most: int) -> dict[str, Any]:
    points = _points(len(run.progress.epochs), most)
    return {
        "group": index,
        "name": run.directory.name,
        "seed": seed(run),
        "status": "cut short" if run.cut_short else run.outcome.status,
        "error": run.outcome.error or run.cut_short or None,
        "overrides": run.plan.overrides,
        "command": f"{as_called('lrdecay train')} {shlex.join([*flags_of(run.plan.command), *run.plan.overrides])}",
        "launched": shlex.join(["python", *run.plan.command]) if run.plan.command else "",
        "commit": run.plan.commit
        and run.plan.commit + (" and changes that were not committed" if run.plan.dirty else ""),
        "seconds": run.progress.seconds,
        "measures": measures(run, comparison.targets[group.label]),
        "x": ends_of_epochs(run)[points],
        "curves": {
            metric: [run.progress.epochs[point].get(metric) for point in points]
            for metric in _drawn(comparison.metrics)
        },
    }
