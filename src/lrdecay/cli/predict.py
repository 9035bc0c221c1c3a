"""The loss that a schedule will come to, from runs under others: fits the multi-power law (arXiv 2503.12811).

python scripts/predict.py outputs/sweeps/NAME schedule=cosine,linear,wsd trainer.max_epochs=200
python scripts/predict.py outputs/sweeps/NAME --peak 0.1 --metric train/loss schedule=rex
python scripts/predict.py runs.csv --columns rate=lr loss=val_loss \\
    --steps-per-epoch 1000 schedule=wsd optimizer.lr=1e-3 trainer.max_epochs=50
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from rich import get_console

from lrdecay.analysis.groups import load_records
from lrdecay.analysis.traces import COLUMNS, of_csv, of_records
from lrdecay.config.compose import compose_all
from lrdecay.config.overrides import key_of
from lrdecay.config.preview import MOST_STEPS, rate_curve
from lrdecay.errors import ConfigError
from lrdecay.files import write_atomically
from lrdecay.records.record import Record
from lrdecay.reports.console import figure_path, relative, say
from lrdecay.reports.prediction import (
    Prediction,
    parameters_table,
    predict,
    prediction_figure,
    predictions_table,
)
from lrdecay.text import plural
from lrdecay.theory.law import Fit, fit

OF_ONE_RUN = ("schedule", "scale", "seed", "name", "optimizer.lr", "output_dir")
"""Overrides, or how they begin, that the runs of the fit do not share with those that are predicted."""


def main(conf: Path) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "words", nargs="+", metavar="PATH|key=value", help="folders of runs, or one CSV; then overrides"
    )
    parser.add_argument(
        "--metric", choices=("val/loss", "train/loss"), default="val/loss", help="of the runs [%(default)s]"
    )
    parser.add_argument("--peak", type=float, help="fit to the runs of this peak rate")
    parser.add_argument(
        "--columns", nargs="+", default=[], metavar="WHAT=NAME", help="columns of a CSV: step, rate, loss, run"
    )
    parser.add_argument("--steps-per-epoch", type=int, help="batches of an epoch, for a data set of your own")
    parser.add_argument(
        "--output", type=Path, default=Path("outputs/prediction.png"), help="the figure; a CSV beside it"
    )
    arguments = parser.parse_intermixed_args()
    output = figure_path(arguments.output)
    paths = [Path(word) for word in arguments.words if "=" not in word]
    overrides = [word for word in arguments.words if "=" in word]
    fitted, shared = _fit(paths, arguments.metric, arguments.peak, dict(map(_named, arguments.columns)))
    if not any(key_of(word) == "optimizer.lr" for word in overrides):
        shared = [*shared, f"optimizer.lr={fitted.law.peak:g}"]
    predictions = [
        predict(fitted, label, rates) for label, rates in _rates(conf, shared, overrides, arguments.steps_per_epoch)
    ]
    _show(fitted, predictions, arguments.metric)
    write_atomically(output, prediction_figure(fitted, predictions))
    rows = [(one.label, len(one.rates), one.loss, one.low, one.high) for one in predictions]
    table = pd.DataFrame(rows, columns=["schedule", "steps", "loss", "low", "high"])
    write_atomically(output.with_suffix(".csv"), table.to_csv(index=False).encode())
    say(relative(output.with_suffix(".csv")))
    say(relative(output))


def _named(word: str) -> tuple[str, str]:
    what, equals, name = word.partition("=")
    if what not in COLUMNS or not equals:
        raise ConfigError(f"--columns {word}: must be {', '.join(COLUMNS)} = the name of a column")
    return what, name


def _fit(paths: Sequence[Path], metric: str, peak: float | None, columns: dict[str, str]) -> tuple[Fit, list[str]]:
    """The law of these runs, and the overrides that they share."""
    tables = [path for path in paths if path.suffix == ".csv"]
    if tables:
        if len(paths) > 1:
            raise ConfigError(
                f"{tables[0]}: must be the only path; one CSV may hold several runs, told apart by a column run"
            )
        return fit(of_csv(tables[0], columns, peak)), []
    for path in paths:
        if not path.is_dir():
            raise ConfigError(f"{path}: must be a folder of runs, or a file that ends in .csv")
    records, problems = load_records(paths)
    if problems:
        raise ConfigError(problems[0])
    return fit(of_records(records, metric, peak)), _shared(records)


def _shared(records: Sequence[Record]) -> list[str]:
    return [word for word in records[0].plan.overrides if not key_of(word).startswith(OF_ONE_RUN)]


def _rates(
    conf: Path, shared: Sequence[str], overrides: Sequence[str], steps_per_epoch: int | None
) -> Iterator[tuple[str, np.ndarray]]:
    if not overrides:
        return
    for label, config in compose_all(conf, [*shared, *overrides]):
        curve = rate_curve(label, config, steps_per_epoch)
        if curve.horizon.total_steps > MOST_STEPS:
            raise ConfigError(f"{label}: must have at most {MOST_STEPS:,} steps, not {curve.horizon.total_steps:,}")
        yield label, curve.rates


def _show(fitted: Fit, predictions: Sequence[Prediction], metric: str) -> None:
    console = get_console()
    runs, schedules = plural(fitted.runs, "run"), plural(len(fitted.traces), "schedule")
    say(f"multi-power law of {metric} at the peak rate {fitted.law.peak:g}, of {runs} of {schedules}")
    say(f"at most {plural(fitted.steps, 'step')} long; their last losses lie {100 * fitted.scatter:.2g}% off the law")
    console.print(parameters_table(fitted))
    if predictions:
        console.print(predictions_table(predictions))
    if fitted.poor:
        say("warning: so the law does not describe these runs, and predicts nothing of others")
    for one in predictions:
        for warning in one.warnings:
            say(f"warning: {one.label}: {warning}")
