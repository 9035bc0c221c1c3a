"""A refined schedule beside the one that was run."""

import numpy as np
from matplotlib.figure import Figure

from lrdecay.reports.figures import COLOURS, png, tidy
from lrdecay.schedules import RateCurve


def refinement_figure(
    before: RateCurve, after: RateCurve, steps: np.ndarray, norms: np.ndarray, smooth: np.ndarray
) -> bytes:
    """The rates of both, and the gradient norms that were measured and smoothed, as PNG."""
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    rates, gradients = figure.subplots(1, 2)
    for curve, colour in zip((before, after), COLOURS, strict=False):
        rates.plot(curve.steps, curve.rates, color=colour, linewidth=1.4, label=curve.label)
    rates.set(title="learning rate", xlabel="step", ylim=(0, None))
    rates.legend(frameon=False)
    gradients.plot(steps, norms, ".", color=COLOURS[0], markersize=3, label="measured")
    gradients.plot(steps, smooth, color=COLOURS[1], linewidth=1.4, label="smoothed")
    gradients.set(title="norm of the gradient", xlabel="step", ylim=(0, None))
    gradients.legend(frameon=False)
    for axes in (rates, gradients):
        tidy(axes)
    return png(figure)
