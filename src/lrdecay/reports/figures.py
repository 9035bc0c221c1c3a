"""Figures, drawn with matplotlib to bytes, so that whoever writes the file can do so atomically."""

import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lrdecay.analysis.groups import Group, metrics_of_groups
from lrdecay.analysis.inference import interval
from lrdecay.metrics import Panel

if TYPE_CHECKING:
    from lrdecay.analysis.question import Finding

# Okabe and Ito's eight (without yellow, too light on white), then Tol's; neighbours differ in lightness too.
COLOURS = (
    "#000000", "#E69F00", "#0072B2", "#D55E00", "#009E73", "#CC79A7",
    "#56B4E9", "#882255", "#999933", "#332288", "#AA4499", "#888888",
)  # fmt: skip
MARKERS = "osD^vP*X<>h"  # one fewer, so that after twelve groups no pair comes again


@dataclass(frozen=True)
class Size:
    """Of a figure: its width and the height of a panel in inches, panels side by side, and points of the text."""

    width: float
    height: float
    across: int
    font: float


SIZES = {None: Size(13, 4.3, 3, 10), 1: Size(3.35, 2.1, 1, 7), 2: Size(6.9, 2.3, 3, 7)}
"""For screens, and for one and two columns of a paper."""

EMBEDDED: dict[Any, Any] = {"pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "lrdecay"}
"""TrueType fonts in PDF, outlines in SVG, so that a file looks the same everywhere, and is the same when made again."""


def comparison_figure(groups: Sequence[Group], title: str, form: str = "png", columns: int | None = None) -> bytes:
    """The article's figure: loss beside accuracy, or what else was measured, and the learning rates.

    Train is dashed, validation solid; a group has one colour and marker, and the 95% interval over its runs as a
    band around the validation curve.

    Args:
        groups: what is drawn.
        title: above it; a paper has its own caption instead.
        form: ``png``, ``pdf`` or ``svg``.
        columns: 1 or 2 of a paper, which it is to be as wide as.
    """
    size = SIZES[columns]
    with matplotlib.rc_context({"font.size": size.font, **EMBEDDED}):
        figure = _comparison(groups, size)
        if columns is None:
            figure.suptitle(plain(title))
        return _file(figure, form)


def _comparison(groups: Sequence[Group], size: Size) -> Figure:
    longest = 8 + max(len(group.name) for group in groups)
    columns = max(1, min(len(groups), 4, int(115 * size.width / size.font) // longest))
    legend_rows, shown = -(-len(groups) // columns), metrics_of_groups(groups).panels
    rows, across = (1, len(shown) + 1) if size.across > 1 else (len(shown) + 1, 1)
    figure = Figure(figsize=(size.width, rows * size.height + 0.025 * size.font * legend_rows), layout="constrained")
    *panels, rates = figure.subplots(rows, across).flat
    handles = []
    for group, colour, marker in zip(groups, itertools.cycle(COLOURS), itertools.cycle(MARKERS), strict=False):
        style: dict[str, Any] = {"color": colour, "linewidth": 1.4}
        marked: dict[str, Any] = {
            "marker": marker,
            "markersize": 4,
            "markevery": max(len(group.epochs) // 8, 1),
            "label": plain(group.name),
        }
        for axes, panel in zip(panels, shown, strict=True):
            if panel.train:
                _draw(axes, group, panel.train, style | {"linestyle": "--", "linewidth": 1})
            if panel.val:
                _draw(axes, group, panel.val, style | marked, band=True)
        _draw_rates(rates, group, style)
        handles.append(Line2D([], [], **style | marked))
    for axes, panel in zip(panels, shown, strict=True):
        drawn = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.get_lines()])
        drawn = drawn[np.isfinite(drawn)]
        positive = panel.better == "lower" and drawn.size and (drawn > 0).all()
        axes.set(title=plain(panel.title), yscale="log" if positive else "linear", ylim=limits(groups, panel))
        if positive and drawn.max() < 10 * drawn.min():  # within a decade 2.5 is easier to read than 2.5 × 10⁰
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("{x:g}")
    rates.set(title="learning rate", ylim=(0, None))
    for axes in (*panels, rates):
        axes.set_xlabel("epoch")
        tidy(axes)
    kinds = [
        Line2D([], [], color="grey", linestyle="--", label="train"),
        Line2D([], [], color="grey", linestyle="-", label="validation"),
    ]
    panels[0].legend(handles=kinds, frameon=False)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)
    return figure


def _draw(axes: Axes, group: Group, metric: str, style: dict[str, Any], band: bool = False) -> None:
    mean, half = interval(group.curve(metric))
    there = np.isfinite(mean)  # an epoch without validation leaves no gap in the line
    epochs, mean, half = group.epochs[there], mean[there], half[there]
    axes.plot(epochs, mean, **style)
    if band:
        axes.fill_between(epochs, mean - half, mean + half, color=style["color"], alpha=0.15, linewidth=0)


def _draw_rates(axes: Axes, group: Group, style: dict[str, Any]) -> None:
    for run in [run for run in group.completed if run.progress.rates][:1]:
        steps, rates = np.array(run.progress.rates).T
        axes.step(steps / (run.plan.steps_per_epoch or 1), rates, where="post", **style)


def limits(groups: Sequence[Group], panel: Panel) -> tuple[float, float] | None:
    """Of accuracies from below the worst final one to just above the best: the differences are near the top.

    A slow first epoch and a wide interval of few seeds may go out of the picture.
    """
    if panel.unit != "accuracy" or not panel.val:
        return None
    finals = np.concatenate([group.final(panel.val) for group in groups])
    names = [name for name in (panel.train, panel.val) if name]
    best = [np.nanmax(group.curve(name), initial=0.0) for group in groups for name in names]
    finals = finals[np.isfinite(finals)]
    if not finals.size:
        return 0.0, 1.0
    top, bottom = max(best), finals.min()
    return max(0.0, bottom - 3 * (top - bottom) - 0.01), min(1.005, top + 0.1 * (top - bottom) + 0.005)


def gains_figure(findings: Sequence["Finding"], title: str) -> bytes:
    """Gains with their intervals, a panel for each measure, as PNG; 0 is no difference, the margin is shaded."""
    names = dict.fromkeys(finding.measure for finding in findings)
    by_measure = {name: [finding for finding in findings if finding.measure == name] for name in names}
    rows = max(len(several) for several in by_measure.values())
    figure = Figure(figsize=(max(7, 5 * len(by_measure)), 1.4 + 0.45 * rows), layout="constrained")
    panels = figure.subplots(1, len(by_measure), squeeze=False).flat
    for axes, (name, several) in zip(panels, by_measure.items(), strict=True):
        factor, unit = (100, ", points") if several[0].kind.unit == "accuracy" else (1, "")
        colours = [{"supported": COLOURS[4], "refuted": COLOURS[3]}.get(f.word, COLOURS[-1]) for f in several]
        for row, (f, colour) in enumerate(zip(several, colours, strict=True)):
            mean, low, high = (factor * end for end in (f.found.mean, f.found.low, f.found.high))
            axes.plot([low, high], [row, row], color=colour, linewidth=2)
            axes.plot(mean, row, marker="o", color=colour)
        if margin := factor * max(f.margin for f in several):
            axes.axvspan(-margin, margin, color=COLOURS[-1], alpha=0.15, linewidth=0)
        axes.axvline(0, color=COLOURS[0], linewidth=0.8)
        labels = [plain(f"{f.group}\nagainst {f.baseline}") for f in several]
        axes.set_yticks(range(len(several)), labels, fontsize=8)
        axes.set(xlabel=f"gain in {name}{unit}", ylim=(len(several) - 0.5, -0.5))
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))  # more would overlap
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(plain(title), fontsize=10, wrap=True)
    return png(figure)


def plain(text: str) -> str:
    """The text literally: matplotlib would take what stands between two $ for a formula, and fail if it is not."""
    return text.replace("$", r"\$")


def tidy(axes: Axes) -> None:
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def png(figure: Figure) -> bytes:
    """A figure as the content of a PNG file."""
    return _file(figure, "png")


def _file(figure: Figure, form: str) -> bytes:
    buffer = io.BytesIO()
    undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
    figure.savefig(buffer, format=form, dpi=150, metadata=undated.get(form))
    return buffer.getvalue()
