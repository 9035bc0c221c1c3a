"""Figures, drawn with matplotlib to bytes, so that whoever writes the file can do so atomically."""

import io
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lrdecay.compare import Group, interval

# Okabe and Ito's eight (without yellow, too light on white), then Tol's; neighbours differ in lightness too.
COLOURS = (
    "#000000", "#E69F00", "#0072B2", "#D55E00", "#009E73", "#CC79A7",
    "#56B4E9", "#882255", "#999933", "#332288", "#AA4499", "#888888",
)  # fmt: skip
MARKERS = "osD^vP*X<>h"  # one fewer, so that after twelve groups no pair comes again


def rate_figure(rates: Sequence[tuple[int, float]], steps_per_epoch: int, title: str) -> bytes:
    """The learning rate over a run, from (step, rate) pairs, as PNG."""
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.add_subplot()
    steps, values = np.array(rates).T
    axes.step(steps / steps_per_epoch, values, where="post", color=COLOURS[2])
    axes.set(title=title, xlabel="epoch", ylabel="learning rate", ylim=(0, None))
    _tidy(axes)
    return _png(figure)


def comparison_figure(groups: Sequence[Group], title: str) -> bytes:
    """The article's figure, as PNG: loss beside accuracy, and the learning rates.

    Train is dashed, validation solid; a group has one colour and marker, and the 95% interval over its runs as a
    band around the validation curve.
    """
    columns = max(1, min(len(groups), 4, 150 // (8 + max(len(group.label) for group in groups))))
    legend_rows = -(-len(groups) // columns)
    figure = Figure(figsize=(13, 4.3 + 0.25 * legend_rows), layout="constrained")
    loss, accuracy, rates = figure.subplots(1, 3)
    handles = []
    for group, colour, marker in zip(groups, itertools.cycle(COLOURS), itertools.cycle(MARKERS), strict=False):
        style: dict[str, Any] = {"color": colour, "linewidth": 1.4}
        marked: dict[str, Any] = {
            "marker": marker,
            "markersize": 4,
            "markevery": max(len(group.epochs) // 8, 1),
            "label": group.label,
        }
        for axes, metric in ((loss, "loss"), (accuracy, "acc")):
            _draw(axes, group, f"train/{metric}", style | {"linestyle": "--", "linewidth": 1})
            _draw(axes, group, f"val/{metric}", style | marked, band=True)
        _draw_rates(rates, group, style)
        handles.append(Line2D([], [], **style | marked))
    loss.set(title="loss", yscale="log")
    accuracy.set(title="accuracy", ylim=_accuracy_limits(groups))
    rates.set(title="learning rate", ylim=(0, None))
    for axes in (loss, accuracy, rates):
        axes.set_xlabel("epoch")
        _tidy(axes)
    kinds = [
        Line2D([], [], color="grey", linestyle="--", label="train"),
        Line2D([], [], color="grey", linestyle="-", label="validation"),
    ]
    loss.legend(handles=kinds, frameon=False)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)
    figure.suptitle(title)
    return _png(figure)


def _draw(axes: Axes, group: Group, metric: str, style: dict, band: bool = False) -> None:
    mean, half = interval(group.curve(metric))
    there = np.isfinite(mean)  # an epoch without validation leaves no gap in the line
    epochs, mean, half = group.epochs[there], mean[there], half[there]
    axes.plot(epochs, mean, **style)
    if band:
        axes.fill_between(epochs, mean - half, mean + half, color=style["color"], alpha=0.15, linewidth=0)


def _draw_rates(axes: Axes, group: Group, style: dict) -> None:
    for run in group.completed[:1]:
        steps, rates = np.array(run.rates).T
        axes.step(steps / (run.steps_per_epoch or 1), rates, where="post", **style)


def _accuracy_limits(groups: Sequence[Group]) -> tuple[float, float]:
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


def _tidy(axes: Axes) -> None:
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()
