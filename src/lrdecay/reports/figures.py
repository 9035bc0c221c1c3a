"""Figures, drawn with matplotlib to bytes, so that whoever writes the file can do so atomically."""

import io
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lrdecay.analysis.groups import Group
from lrdecay.analysis.inference import interval
from lrdecay.schedules import RateCurve

if TYPE_CHECKING:
    from lrdecay.analysis.question import Finding
    from lrdecay.config.preview import BoundedCurve
    from lrdecay.training.range_test import RangeTest  # which needs torch

# Okabe and Ito's eight (without yellow, too light on white), then Tol's; neighbours differ in lightness too.
COLOURS = (
    "#000000", "#E69F00", "#0072B2", "#D55E00", "#009E73", "#CC79A7",
    "#56B4E9", "#882255", "#999933", "#332288", "#AA4499", "#888888",
)  # fmt: skip
MARKERS = "osD^vP*X<>h"  # one fewer, so that after twelve groups no pair comes again


def rate_figure(
    rates: Sequence[tuple[int, float]],
    steps_per_epoch: int,
    title: str,
    ratios: Mapping[str, float] | None = None,
    quantities: Mapping[str, np.ndarray] | None = None,
) -> bytes:
    """The learning rate over a run, from (step, rate) pairs, as PNG; and of parameter groups, by their ratios to it.

    Below it are other quantities that were scheduled, at the same steps.
    """
    panels = 1 + len(quantities or {})
    figure = Figure(figsize=(6, 3 * panels))
    # Drawn after every run: finding the margins doubles the time.
    places = [(0.13, (panel + 0.17) / panels, 0.84, 0.72 / panels) for panel in reversed(range(panels))]
    axes, *others = (figure.add_axes(place) for place in places)
    steps, values = np.array(rates).T
    for (name, quantity), below in zip((quantities or {}).items(), others, strict=True):
        below.step(steps / steps_per_epoch, quantity, where="post", color=COLOURS[2])
        below.set(xlabel="epoch", ylabel=name.replace("_", " "), ylim=(0, None))
        tidy(below)
    axes.step(steps / steps_per_epoch, values, where="post", color=COLOURS[2])
    for (name, ratio), colour in zip((ratios or {}).items(), itertools.cycle(COLOURS[3:]), strict=False):
        axes.step(steps / steps_per_epoch, values * ratio, where="post", color=colour, label=f"{name} ×{ratio:g}")
    if ratios:
        axes.legend(frameon=False)
    axes.set(title=_plain(title), xlabel="epoch", ylabel="learning rate", ylim=(0, None))
    tidy(axes)
    return png(figure)


def preview_figure(curves: Sequence[RateCurve], bounded: Sequence["BoundedCurve"] = ()) -> bytes:
    """Learning rates over a run on a linear and a logarithmic scale, epochs below and steps above, as PNG.

    With their bounds, these are beside them.
    """
    legend_rows = len(curves)
    keys = list(dict.fromkeys(key for curve in curves for key in curve.factors))
    panels = 2 + bool(bounded) + len(keys)
    figure = Figure(figsize=(6 * panels, 4.6 + 0.22 * legend_rows), layout="constrained")
    linear, logarithmic, *others = figure.subplots(1, panels)
    for key, axes in zip(keys, others[bool(bounded) :], strict=True):
        for curve, colour in zip(curves, itertools.cycle(COLOURS), strict=False):
            if key in curve.factors:
                epochs = curve.steps / (curve.horizon.steps_per_epoch or 1)
                axes.step(epochs, curve.factors[key], where="post", color=colour, linewidth=1.4)
        axes.set(title=f"{key}, × what is configured", ylim=(0, None), xlabel="epoch")
        tidy(axes)
    for axes in others[: bool(bounded)]:
        for one, colour in zip(bounded, itertools.cycle(COLOURS), strict=False):
            axes.plot(one.steps / one.curve.horizon.steps_per_epoch, one.bounds, color=colour, linewidth=1.4)
        lowest = min(one.best for one in bounded)
        # Where a run has only begun, the bound is many times what it comes to.
        axes.set(title="bound on the loss, each at its best peak", ylim=(0, 8 * lowest), xlabel="epoch")
        tidy(axes)
    for curve, colour in zip(curves, itertools.cycle(COLOURS), strict=False):
        shown = _corners(curve)
        epochs, rates = curve.steps[shown] / curve.horizon.steps_per_epoch, curve.rates[shown]
        label = f"{_plain(curve.label)}: mean {curve.mean:.3g}, area {curve.area:.4g}"
        style: dict[str, Any] = {"color": colour, "linewidth": 1.4, "drawstyle": "steps-post"}
        linear.plot(epochs, rates, label=label, **style)
        logarithmic.plot(epochs, np.where(rates > 0, rates, np.nan), **style)
    linear.set(title="learning rate", ylim=(0, None))
    logarithmic.set(title="learning rate, logarithmic", yscale="log")
    # The last steps to zero would push all others together.
    lowest_peak = min(curve.rates.max() for curve in curves)
    logarithmic.set_ylim(bottom=max(logarithmic.get_ylim()[0], lowest_peak * 1e-4))
    per_epoch = curves[0].horizon.steps_per_epoch
    for axes in (linear, logarithmic):
        tidy(axes)
        axes.set_xlabel("epoch")
        if any(curve.horizon.steps_per_epoch != per_epoch for curve in curves):
            continue  # there is no one axis of steps
        axes.secondary_xaxis("top", functions=(lambda x: x * per_epoch, lambda x: x / per_epoch)).set_xlabel("step")
    figure.legend(loc="outside lower center", ncols=1 if legend_rows < 4 else 2, frameon=False)
    return png(figure)


def catalogue_figure(curves: Sequence[RateCurve], bounded: Sequence["BoundedCurve"] = ()) -> bytes:
    """A small picture of each learning rate over a run, and of its momentum where it has one, as PNG.

    With their bounds, each says its own, relative to the lowest of all.
    """
    lowest = min((one.best for one in bounded), default=1.0)
    relative = {one.curve.label: f" ×{one.best / lowest:.2f}" for one in bounded}
    columns = min((5, 6, 7), key=lambda count: (-len(curves) % count, -count))  # as few empty places as can be
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(2.1 * columns, 1.55 * rows + 0.4), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes, curve in itertools.zip_longest(panels, curves):
        if curve is None:
            axes.axis("off")
            continue
        shown = _corners(curve)
        share = curve.steps[shown] / max(curve.horizon.total_steps - 1, 1)
        axes.fill_between(share, curve.rates[shown], color=COLOURS[2], alpha=0.15, linewidth=0, step="post")
        axes.plot(share, curve.rates[shown], color=COLOURS[2], linewidth=1.4, drawstyle="steps-post")
        if curve.momentum is not None:
            momentum = axes.twinx()
            momentum.plot(share, curve.momentum[shown], color=COLOURS[3], linewidth=1, linestyle="--")
            momentum.axis("off")
        axes.set_title(_plain(curve.label) + relative.get(curve.label, ""), fontsize=10)
        axes.set(xticks=[], yticks=[], ylim=(0, None), xlim=(0, 1))
        axes.spines[["top", "right"]].set_visible(False)
    of_bound = "; ×: bound on the loss, relative to the lowest" if bounded else ""
    figure.supxlabel(f"learning rate over the run; dashed: momentum{of_bound}", fontsize=10)
    return png(figure)


def range_test_figure(test: "RangeTest", title: str) -> bytes:
    """The loss of a range test against its rate, with the suggestion marked, as PNG."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(test.rates, test.losses, color=COLOURS[2], alpha=0.3, linewidth=1, label="loss of each batch")
    if len(test.smoothed):
        axes.plot(test.rates[: len(test.smoothed)], test.smoothed, color=COLOURS[2], linewidth=1.6, label="smoothed")
        # A loss that explodes would hide all the rest.
        low, high = test.smoothed.min(), test.smoothed[: max(len(test.smoothed) // 5, 1)].max()
        axes.set_ylim(low - 0.1 * (high - low), high + 0.5 * (high - low) + 1e-12)
    if test.suggestion is not None and test.lowest is not None:
        axes.axvline(test.suggestion, color=COLOURS[3], linestyle="--", label=f"falls fastest: {test.suggestion:.2g}")
        axes.axvline(test.lowest, color=COLOURS[0], linestyle=":", label=f"lowest: {test.lowest:.2g}")
    axes.set(title=_plain(title), xlabel="learning rate", ylabel="training loss")
    tidy(axes)
    axes.set_xscale("log" if test.mode == "exponential" else "linear")
    axes.legend(frameon=False)
    return png(figure)


def _corners(curve: RateCurve) -> np.ndarray:
    """Which steps to draw: some thousands evenly spread, and both sides of every jump between them."""
    every = np.arange(0, len(curve.steps), max(len(curve.steps) // 4000, 1))
    change = np.abs(np.diff(curve.rates))
    jumps = np.flatnonzero(change > 0.01 * np.ptp(curve.rates)) if len(curve.steps) > 4000 else np.array([], int)
    return np.unique(np.concatenate([every, jumps, jumps + 1, [len(curve.steps) - 1]]))


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
    """The article's figure: loss beside accuracy, and the learning rates.

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
            figure.suptitle(_plain(title))
        return _file(figure, form)


def _comparison(groups: Sequence[Group], size: Size) -> Figure:
    longest = 8 + max(len(group.name) for group in groups)
    columns = max(1, min(len(groups), 4, int(115 * size.width / size.font) // longest))
    legend_rows, rows = -(-len(groups) // columns), 3 // size.across
    figure = Figure(figsize=(size.width, rows * size.height + 0.025 * size.font * legend_rows), layout="constrained")
    loss, accuracy, rates = figure.subplots(rows, size.across).flat
    handles = []
    for group, colour, marker in zip(groups, itertools.cycle(COLOURS), itertools.cycle(MARKERS), strict=False):
        style: dict[str, Any] = {"color": colour, "linewidth": 1.4}
        marked: dict[str, Any] = {
            "marker": marker,
            "markersize": 4,
            "markevery": max(len(group.epochs) // 8, 1),
            "label": _plain(group.name),
        }
        for axes, metric in ((loss, "loss"), (accuracy, "acc")):
            _draw(axes, group, f"train/{metric}", style | {"linestyle": "--", "linewidth": 1})
            _draw(axes, group, f"val/{metric}", style | marked, band=True)
        _draw_rates(rates, group, style)
        handles.append(Line2D([], [], **style | marked))
    drawn = [np.asarray(line.get_ydata(), dtype=float) for line in loss.get_lines()]
    loss.set(title="loss", yscale="log" if any((values > 0).any() for values in drawn) else "linear")
    accuracy.set(title="accuracy", ylim=accuracy_limits(groups))
    rates.set(title="learning rate", ylim=(0, None))
    for axes in (loss, accuracy, rates):
        axes.set_xlabel("epoch")
        tidy(axes)
    kinds = [
        Line2D([], [], color="grey", linestyle="--", label="train"),
        Line2D([], [], color="grey", linestyle="-", label="validation"),
    ]
    loss.legend(handles=kinds, frameon=False)
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


def accuracy_limits(groups: Sequence[Group]) -> tuple[float, float]:
    """From below the worst final accuracy to just above the best: the differences are near the top.

    A slow first epoch and a wide interval of few seeds may go out of the picture.
    """
    finals = np.concatenate([group.final("val/acc") for group in groups])
    best = [np.nanmax(group.curve(f"{part}/acc"), initial=0.0) for group in groups for part in ("train", "val")]
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
        labels = [_plain(f"{f.group}\nagainst {f.baseline}") for f in several]
        axes.set_yticks(range(len(several)), labels, fontsize=8)
        axes.set(xlabel=f"gain in {name}{unit}", ylim=(len(several) - 0.5, -0.5))
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(_plain(title), fontsize=10, wrap=True)
    return png(figure)


def _plain(text: str) -> str:
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
