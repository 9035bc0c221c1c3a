"""Charts of what the benchmark measures."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from lrdecay.reports.figures import COLOURS, png


def bar_chart(values: Mapping[str, Sequence[float]], title: str) -> bytes:
    """A bar for the median of each name's values, with their range, the first as the measure of the others, as PNG."""
    figure = Figure(figsize=(8, 0.8 + 0.45 * len(values)), layout="constrained")
    axes = figure.add_subplot()
    medians = np.array([np.median(several) for several in values.values()])
    ends = np.array([(min(several), max(several)) for several in values.values()])
    colours = [COLOURS[2], *[COLOURS[-1]] * (len(values) - 1)]
    axes.barh(list(values), medians, xerr=np.abs(ends - medians[:, None]).T, color=colours, ecolor=COLOURS[0])
    for row, (median, (_, highest)) in enumerate(zip(medians, ends, strict=True)):
        times = "" if row == 0 else f"  ({median / medians[0]:.1f}×)"
        axes.annotate(f"{median:.1f}{times}", (highest, row), (4, 0), textcoords="offset points", va="center")
    axes.set(title=title, xlim=(0, 1.15 * ends.max()))
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    return png(figure)


def growth_figure(growths: Mapping[str, Mapping[str, Any]], title: str) -> bytes:
    """How seconds and MB grow with each of several amounts, a panel each on logarithmic scales, as PNG.

    Args:
        growths: by what is counted: ``amounts``, their ``seconds`` and ``megabytes``, the seconds ``on_the_line`` that
            is straight, and its ``line``: the constant and the slope.
        title: above them.
    """
    rows = -(-len(growths) // 3)
    figure = Figure(figsize=(12, 3.4 * rows + 0.4), layout="constrained")
    panels = figure.subplots(rows, 3, squeeze=False).flat
    for axes, (name, growth) in zip(panels, growths.items(), strict=False):
        amounts, (constant, slope) = np.array(growth["amounts"], dtype=float), growth["line"]
        axes.plot(amounts, growth["on_the_line"], color=COLOURS[-1], linewidth=1, linestyle="--")
        axes.plot(amounts, growth["seconds"], color=COLOURS[2], marker="o")
        axes.set(xscale="log", yscale="log", xlabel=name, ylabel="seconds")
        axes.set_title(f"{constant:.2g} s + {slope:.2g} s each", fontsize=10)
        axes.xaxis.set_minor_formatter(NullFormatter())
        memory = axes.twinx()
        memory.plot(amounts, growth["megabytes"], color=COLOURS[3], marker="s", linewidth=1, linestyle=":")
        memory.set(ylabel="MB", ylim=(0, 1.2 * max(growth["megabytes"])))
        axes.grid(alpha=0.3)
    figure.suptitle(f"{title}; dashed: a straight line, dotted: the highest resident set", fontsize=11)
    return png(figure)
