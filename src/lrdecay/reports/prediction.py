"""What a law says of runs that were made, and of others that were not: tables, a figure, a section of the page."""

import base64
import html
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.table import Table
from scipy.stats import spearmanr

from lrdecay.commands import as_called
from lrdecay.reports.figures import COLOURS, png, tidy
from lrdecay.text import plural
from lrdecay.theory.fitting import Fit, Trace

SYMBOLS = {"L0": "L₀", "alpha": "α", "beta": "β", "gamma": "γ"}
POINTS = 200
"""Of a predicted curve, as many as it is drawn by."""
FIGURE = "prediction.png"
"""In the folder of a sweep, where the page looks for it and for the table beside it."""


@dataclass(frozen=True)
class Prediction:
    """Of a run.

    Attributes:
        rates: of all of its steps.
        loss, low, high: at its end, with the 95% interval.
        warnings: where it lies outside of what the law was fitted to.
        measured: the runs that were made with these rates after all, and not fitted; one for each seed.
    """

    label: str
    rates: np.ndarray
    loss: float
    low: float
    high: float
    warnings: list[str]
    measured: Sequence[Trace] = ()

    @property
    def truth(self) -> float:
        """The mean loss at the end of the measured runs."""
        return float(np.mean([trace.losses[-1] for trace in self.measured]))

    @property
    def spread(self) -> float:
        """Standard deviation of that loss over seeds; NaN for one."""
        ends = [trace.losses[-1] for trace in self.measured]
        return float(np.std(ends, ddof=1)) if len(ends) > 1 else float("nan")


def predict(fit: Fit, label: str, rates: np.ndarray, measured: Sequence[Trace] = ()) -> Prediction:
    """What the law says of a run with these rates."""
    return Prediction(label, rates, *fit.final(rates), fit.warnings(rates), measured)


def parameters_table(fit: Fit) -> Table:
    """The law's parameters with their intervals."""
    grid = Table(box=SIMPLE_HEAD)
    for name in ("parameter", "fitted", "95% interval over runs"):
        grid.add_column(name, justify="left" if name == "parameter" else "right", no_wrap=True)
    for name, (value, low, high) in fit.intervals().items():
        grid.add_row(SYMBOLS.get(name, name), f"{value:.4g}", f"{low:.4g} to {high:.4g}")
    return grid


def frame(predictions: Sequence[Prediction]) -> pd.DataFrame:
    """A row for each prediction, the lowest loss first; what was not measured is empty."""
    columns = ["schedule", "steps", "loss", "low", "high"]
    if any(one.measured for one in predictions):
        columns += ["measured", "sd"]
    rows = [
        {"schedule": one.label, "steps": len(one.rates), "loss": one.loss, "low": one.low, "high": one.high}
        | ({"measured": one.truth, "sd": one.spread} if one.measured else {})
        for one in sorted(predictions, key=lambda prediction: prediction.loss)
    ]
    return pd.DataFrame(rows, columns=columns)


def predictions_table(predictions: Sequence[Prediction]) -> Table:
    """The losses at the end, the lowest first, beside those that were measured."""
    grid = Table(box=SIMPLE_HEAD)
    columns, rows = _cells(frame(predictions))
    for number, name in enumerate(columns):
        grid.add_column(name, justify="right" if number else "left", overflow="fold", no_wrap=bool(number))
    for row in rows:
        grid.add_row(*row)
    return grid


def _cells(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Heads and rows as text."""
    columns = ["schedule", "steps", "predicted ± 95%"]
    rows = [
        [str(row.schedule), f"{row.steps:,}", f"{row.loss:.4f} ± {row.high - row.loss:.4f}"]
        for row in table.itertuples()
    ]
    if "measured" not in table:
        return columns, rows
    for cells, row in zip(rows, table.itertuples(), strict=True):
        spread = f" ± {row.sd:.4f}" if np.isfinite(row.sd) else ""
        known = np.isfinite(row.measured)
        cells += [f"{row.measured:.4f}{spread}", f"{row.loss - row.measured:+.4f}"] if known else ["", ""]
    return [*columns, "measured ± sd", "error"], rows


def agreement(predictions: Sequence[Prediction]) -> str:
    """How well the predictions agree with what was measured, in a sentence."""
    known = [one for one in predictions if one.measured]
    truths = np.array([one.truth for one in known])
    errors = np.array([one.loss for one in known]) - truths
    spreads = np.array([one.spread for one in known])
    inside = sum(one.low <= truth <= one.high for one, truth in zip(known, truths, strict=True))
    said = f"mean error {np.abs(errors).mean():.4f}, bias {errors.mean():+.4f}"
    if np.isfinite(spreads).any():
        said += f", spread over seeds {np.nanmean(spreads):.4f}"
    if len(known) > 2:
        said += f"; in order by Spearman's ρ {spearmanr([one.loss for one in known], truths).statistic:.2f}"
    return f"of {plural(len(known), 'schedule')} left out of the fit: {said}; {inside} within their intervals"


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
        steps = np.unique(np.linspace(len(one.rates) / 4, len(one.rates), POINTS).astype(int))
        predicted.plot(steps, fit.law.losses(one.rates, steps), color=colour, linewidth=1.4, label=one.label)
        half = one.high - one.loss
        predicted.errorbar([len(one.rates)], [one.loss], [half], color=colour, capsize=3, linewidth=1)
        for trace in one.measured:
            later = trace.steps > trace.steps[-1] / 4
            predicted.plot(trace.steps[later], trace.losses[later], ".", color=colour, markersize=3)
    measured.set(title="measured (points) and fitted", ylabel="loss", xlabel="step")
    losses = np.concatenate([trace.losses[trace.steps > trace.steps[-1] / 10] for trace in fit.traces])
    measured.set_ylim(losses.min() - 0.05 * np.ptp(losses), losses.max() + 0.05 * np.ptp(losses))
    left.set(title="fitted − measured", xlabel="step")
    points = ", measured (points)" if any(one.measured for one in predictions) else ""
    predicted.set(title=f"predicted{points}; 95% interval at the end", xlabel="step")
    for axes in (measured, left, predicted):
        tidy(axes)
    if predictions:
        predicted.legend(frameon=False)
    return png(figure)


def section(folder: Path) -> str:
    """What ``lrdecay predict`` left in a sweep's folder, as a section of its page; nothing where it left nothing."""
    figure, table = folder / FIGURE, (folder / FIGURE).with_suffix(".csv")
    if not (figure.is_file() and table.is_file()):
        return ""
    try:
        columns, rows = _cells(pd.read_csv(table, dtype={"schedule": str}, na_values=[""], keep_default_na=False))
    except (ValueError, AttributeError):
        return ""  # somebody else's of that name
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    picture = base64.b64encode(figure.read_bytes()).decode()
    return (
        '<section id="prediction"><h2>Prediction</h2>'
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        f'<p class="quiet">By the multi-power law (arXiv 2503.12811), fitted by {as_called("lrdecay predict")}.</p>'
        f'<img alt="Measured, fitted and predicted losses" src="data:image/png;base64,{picture}"></section>'
    )
