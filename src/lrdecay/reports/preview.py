"""Previewed rates as a table on the terminal."""

from collections.abc import Callable

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from lrdecay.config.preview import LONGER, BoundedCurve
from lrdecay.schedules import RateCurve

BOUND_READ = (
    "bound: on the loss above the optimum of a convex problem, with each schedule at its own best peak rate (arXiv "
    f"2501.18965), relative to the first; with {LONGER}× the steps: the best peak of a run that much longer, relative "
    "to this one's"
)


def sparkline(values: np.ndarray, width: int) -> str:
    """The values as a line of blocks, each as high as the mean over its part, relative to the greatest."""
    means = [part.mean() for part in np.array_split(values, min(width, len(values)))]
    top = max(values.max(), np.finfo(float).tiny)
    return "".join(" ▁▂▃▄▅▆▇█"[round(8 * mean / top)] for mean in means)


def bound_table(bounded: list[BoundedCurve]) -> Table:
    """What the bound says of each curve, relative to the first."""
    grid = Table(box=SIMPLE_HEAD)
    grid.add_column("", overflow="fold")
    for name in ("bound", "best peak", f"with {LONGER}× the steps"):
        grid.add_column(name, justify="right", no_wrap=True)
    first = bounded[0]
    for one in bounded:
        numbers = one.best / first.best, one.best_peak / first.best_peak, one.longer_peak
        grid.add_row(one.curve.label, *(f"× {number:.3g}" for number in numbers))
    return grid


def table(curves: list[RateCurve], width: int) -> Table:
    """A line for each curve: its shape, and where it starts, peaks and ends."""
    grid = Table(box=SIMPLE_HEAD)
    grid.add_column("", overflow="fold")
    grid.add_column("rate over the run", no_wrap=True)
    numbers: dict[str, Callable[[RateCurve], float]] = {
        "steps": lambda curve: curve.horizon.total_steps,
        "first": lambda curve: curve.rates[0],
        "peak": lambda curve: curve.rates.max(),
        "last": lambda curve: curve.rates[-1],
        "mean": lambda curve: curve.mean,
        "area": lambda curve: curve.area,
    }
    if len({curve.horizon for curve in curves}) == 1:
        del numbers["steps"]
    if width < 100:
        numbers = {name: number for name, number in numbers.items() if name not in ("first", "mean")}
    for name in numbers:
        grid.add_column(name, justify="right", no_wrap=True)
    room = max(12, width - 6 - 11 * len(numbers) - min(30, max(len(curve.label) for curve in curves)))
    for curve in curves:
        cells = [f"{number(curve):.4g}" for number in numbers.values()]
        grid.add_row(curve.label, sparkline(curve.rates, room), *cells)
    return grid
