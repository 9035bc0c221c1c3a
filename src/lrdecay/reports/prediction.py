"""What a law says of runs that were made, and of others that were not: tables and a figure."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.table import Table

from lrdecay.reports.figures import COLOURS, png, tidy
from lrdecay.theory.law import Fit

SYMBOLS = {"L0": "L₀", "alpha": "α", "beta": "β", "gamma": "γ"}
POINTS = 200
"""Of a predicted curve, as many as it is drawn by."""


@dataclass(frozen=True)
class Prediction:
    """Of a run that was not made.

    Attributes:
        rates: of all of its steps.
        loss, low, high: at its end, with the 95% interval.
        warnings: where it lies outside of what the law was fitted to.
    """

    label: str
    rates: np.ndarray
    loss: float
    low: float
    high: float
    warnings: list[str]


def predict(fit: Fit, label: str, rates: np.ndarray) -> Prediction:
    """What the law says of a run with these rates."""
    return Prediction(label, rates, *fit.final(rates), fit.warnings(rates))


def parameters_table(fit: Fit) -> Table:
    """The law's parameters with their intervals."""
    grid = Table(box=SIMPLE_HEAD)
    for name in ("parameter", "fitted", "95% interval over runs"):
        grid.add_column(name, justify="left" if name == "parameter" else "right", no_wrap=True)
    for name, (value, low, high) in fit.intervals().items():
        grid.add_row(SYMBOLS.get(name, name), f"{value:.4g}", f"{low:.4g} to {high:.4g}")
    return grid


def predictions_table(predictions: Sequence[Prediction]) -> Table:
    """The losses at the end, the lowest first."""
    grid = Table(box=SIMPLE_HEAD)
    grid.add_column("", overflow="fold")
    for name in ("steps", "loss", "95% interval"):
        grid.add_column(name, justify="right", no_wrap=True)
    for one in sorted(predictions, key=lambda prediction: prediction.loss):
        grid.add_row(one.label, f"{len(one.rates):,}", f"{one.loss:.4f}", f"{one.low:.4f} to {one.high:.4f}")
    return grid


def prediction_figure(fit: Fit, predictions: Sequence[Prediction]) -> bytes:
    """Measured and fitted curves, what is left between them, and the predicted curves, as PNG."""
    figure = Figure(figsize=(16, 4.8), layout="constrained")
    measured, left, predicted = figure.subplots(1, 3)
    for trace, colour in zip(fit.traces, itertools.cycle(COLOURS), strict=False):
        losses = fit.law.losses(trace.rates, trace.steps)
        later = trace.steps > trace.steps[-1] / 10
        measured.plot(trace.steps, trace.losses, ".", color=colour, markersize=3)
        measured.plot(trace.steps[later], losses[later], color=colour, linewidth=1)
        left.plot(trace.steps[later], (losses - trace.losses)[later], color=colour, linewidth=1)
    left.axhline(0, color="black", linewidth=0.8)
    for one, colour in zip(predictions, itertools.cycle(COLOURS), strict=False):
        steps = np.unique(np.linspace(len(one.rates) / 10, len(one.rates), POINTS).astype(int))
        predicted.plot(steps, fit.law.losses(one.rates, steps), color=colour, linewidth=1.4, label=one.label)
        half = one.high - one.loss
        predicted.errorbar([len(one.rates)], [one.loss], [half], color=colour, capsize=3, linewidth=1)
    measured.set(title="measured (points) and fitted", ylabel="loss", xlabel="step")
    losses = np.concatenate([trace.losses[trace.steps > trace.steps[-1] / 10] for trace in fit.traces])
    measured.set_ylim(losses.min() - 0.05 * np.ptp(losses), losses.max() + 0.05 * np.ptp(losses))
    left.set(title="fitted − measured", xlabel="step")
    predicted.set(title="predicted, with the 95% interval of the end", xlabel="step")
    for axes in (measured, left, predicted):
        tidy(axes)
    if predictions:
        predicted.legend(frameon=False)
    return png(figure)
