"""Figures of learning rates: over a run, before any run, and of a range test."""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from lrdecay.reports.figures import COLOURS, plain, png, tidy
from lrdecay.schedules import RateCurve

if TYPE_CHECKING:
    from lrdecay.config.preview import BoundedCurve
    from lrdecay.training.range_test import RangeTest  # which needs torch


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
    axes.set(title=plain(title), xlabel="epoch", ylabel="learning rate", ylim=(0, None))
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
        label = f"{plain(curve.label)}: mean {curve.mean:.3g}, area {curve.area:.4g}"
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
        axes.set_title(plain(curve.label) + relative.get(curve.label, ""), fontsize=10)
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
    axes.set(title=plain(title), xlabel="learning rate", ylabel="training loss")
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
