r"""Predicts the loss that a schedule will reach from runs under others, by the multi-power law (arXiv 2503.12811).

lrdecay predict outputs/sweeps/NAME schedule=cosine,linear,wsd \
    trainer.max_epochs=200
lrdecay predict outputs/sweeps/NAME --metric train/loss schedule=rex
# how well it predicts groups that it was not fitted to
lrdecay predict outputs/sweeps/NAME --fit-on constant,cosine,linear
# the best schedule, by the law
lrdecay predict outputs/sweeps/NAME --optimize schedule=cosine,wsd
# a CSV from anywhere, and charts exported by TensorBoard or Weights & Biases
lrdecay predict runs.csv --columns rate=lr loss=val_loss \
    --steps-per-epoch 1000 schedule=wsd optimizer.lr=1e-3
lrdecay predict loss.csv --rates lr.csv
"""

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from rich import get_console

from lrdecay.analysis.exports import COLUMNS, of_csv
from lrdecay.analysis.groups import load_records
from lrdecay.analysis.traces import apart, of_records
from lrdecay.cli.arguments import add_config_dir, parse, parser_of
from lrdecay.commands import as_called
from lrdecay.config.compose import compose_all
from lrdecay.config.overrides import key_of, searching
from lrdecay.config.preview import MOST_STEPS, best_points, rate_curve
from lrdecay.errors import ConfigError
from lrdecay.files import write_atomically
from lrdecay.records.record import Record
from lrdecay.reports.console import figure_path, relative, say
from lrdecay.reports.prediction import (
    FIGURE,
    Prediction,
    agreement,
    frame,
    parameters_table,
    predict,
    prediction_figure,
    predictions_table,
)
from lrdecay.schedules import Schedule
from lrdecay.schedules.free import points_csv
from lrdecay.text import listed, plural
from lrdecay.theory.fitting import Fit, Trace, fit

OF_ONE_RUN = ("schedule", "scale", "seed", "name", "optimizer.lr", "output_dir")
"""Overrides, or how they begin, that the runs of the fit do not share with those that are predicted."""


def main(conf: Path) -> None:
    arguments = _arguments(conf)
    paths = [Path(word) for word in arguments.words if "=" not in word]
    overrides = [word for word in arguments.words if "=" in word]
    one_folder = len(paths) == 1 and paths[0].is_dir()
    output = figure_path(arguments.output or (paths[0] if one_folder else Path("outputs")) / FIGURE)
    fitted, others, shared = _fit(paths, arguments)
    if not any(key_of(word) == "optimizer.lr" for word in overrides):
        shared = [*shared, f"optimizer.lr={fitted.law.peak:g}"]
    own = [searching(arguments.config_dir)] if arguments.config_dir else []
    configs = compose_all(conf, [*own, *shared, *overrides]) if overrides else []
    best = output.with_name(f"{output.stem}_best.csv")
    words: list[str] = []
    if arguments.optimize:
        words, config = _of_a_table(conf, own, [*shared, *overrides])
        points = best_points(fitted, config, arguments.steps_per_epoch)
        write_atomically(best, points_csv(points))
        config.schedule.points = points
        configs.append(("best", config))
    rates = [(label, _rates(label, config, arguments.steps_per_epoch)) for label, config in configs]
    predictions = [predict(fitted, label, every) for label, every in rates]
    predictions += [predict(fitted, label, traces[0].rates, traces) for label, traces in others.items()]
    _show(fitted, predictions, arguments.metric)
    write_atomically(output, prediction_figure(fitted, predictions))
    write_atomically(output.with_suffix(".csv"), frame(predictions).to_csv(index=False).encode())
    if arguments.optimize:
        place = [f"--config-dir={arguments.config_dir}"] if arguments.config_dir else []
        words = [*place, *words, f"schedule.csv={relative(best)}"]
        say(f"to train with the best: {as_called('lrdecay train')} {shlex.join(words)}")
    if output.name == FIGURE and (page := output.with_name("report.html")).is_file():
        say(f"{as_called('lrdecay compare')} {relative(output.parent)} puts it on the page {relative(page)}")
    say(relative(output.with_suffix(".csv")))
    say(relative(output))


def _arguments(conf: Path) -> argparse.Namespace:
    parser = parser_of("predict", __doc__)
    add = parser.add_argument
    add("words", nargs="+", metavar="PATH|key=value", help="folders of runs, or one CSV; then overrides")
    add_config_dir(parser)
    add("--metric", choices=("val/loss", "train/loss"), default="val/loss", help="of the runs [%(default)s]")
    add("--peak", type=float, help="fit to the runs of this peak rate")
    add("--fit-on", metavar="GROUP,…", help="fit to these groups of the runs, and compare the others with predictions")
    add("--columns", nargs="+", default=[], metavar="WHAT=NAME", help="columns of a CSV: step, rate, loss, run")
    add("--rates", type=Path, metavar="CSV", help="the rates, where the CSV has the losses alone")
    add("--optimize", action="store_true", help="also find the best schedule, as a table to train with")
    add("--steps-per-epoch", type=int, help="batches of an epoch, for a data set of your own")
    add("--output", type=Path, help="the figure, a CSV beside it; prediction.png in the one folder, or in outputs")
    return parse(parser, conf)


def _named(word: str) -> tuple[str, str]:
    what, equals, name = word.partition("=")
    if what not in COLUMNS or not equals:
        raise ConfigError(f"--columns {word}: must be {', '.join(COLUMNS)} = the name of a column")
    return what, name


def _fit(paths: Sequence[Path], arguments: argparse.Namespace) -> tuple[Fit, dict[str, list[Trace]], list[str]]:
    """The law of these runs, the runs of groups that it is not fitted to, and the overrides that all share."""
    columns = dict(map(_named, arguments.columns))
    tables = [path for path in paths if path.suffix == ".csv"]
    if tables and len(paths) > 1:
        raise ConfigError(
            f"{tables[0]}: must be the only path; one CSV may hold several runs, told apart by a column run, and "
            "--rates names another with their rates"
        )
    if tables and arguments.fit_on:
        raise ConfigError(f"--fit-on={arguments.fit_on}: must come with folders of runs, whose groups have names")
    if tables:
        return fit(of_csv(tables[0], columns, arguments.peak, arguments.rates)), {}, []
    if arguments.rates:
        raise ConfigError(f"--rates {arguments.rates}: must come with a CSV of losses; records have their rates")
    for path in paths:
        if not path.is_dir():
            raise ConfigError(f"{path}: must be a folder of runs, or a file that ends in .csv")
    records, problems = load_records(paths)
    if problems:
        raise ConfigError(problems[0])
    kept, others = apart(records, arguments.fit_on.split(",")) if arguments.fit_on else (records, [])
    if others:
        of_records(records, arguments.metric, arguments.peak)  # all must be alike, those that are compared too
    traces = {g.label: of_records(g.runs, arguments.metric) for g in others}
    return fit(of_records(kept, arguments.metric, arguments.peak)), traces, _shared(kept)


def _shared(records: Sequence[Record]) -> list[str]:
    return [word for word in records[0].plan.overrides if not key_of(word).startswith(OF_ONE_RUN)]


def _of_a_table(conf: Path, own: Sequence[str], words: Sequence[str]) -> tuple[list[str], DictConfig]:
    """The configuration under these overrides with a table for a schedule, placed in the run as they say."""
    placement = {f"schedule.{field.name}" for field in fields(Schedule)}
    kept = [word for word in words if not key_of(word).startswith("schedule") or key_of(word) in placement]
    configs = compose_all(conf, [*own, *kept, "schedule=table"])
    if len(configs) > 1:
        several = listed([label for label, _ in configs])
        raise ConfigError(f"--optimize: must have one run to find a schedule for, not {several}")
    return [*kept, "schedule=table"], configs[0][1]


def _rates(label: str, config: DictConfig, steps_per_epoch: int | None) -> np.ndarray:
    curve = rate_curve(label, config, steps_per_epoch)
    if curve.horizon.total_steps > MOST_STEPS:
        raise ConfigError(f"{label}: must have at most {MOST_STEPS:,} steps, not {curve.horizon.total_steps:,}")
    return curve.rates


def _show(fitted: Fit, predictions: Sequence[Prediction], metric: str) -> None:
    console = get_console()
    runs, schedules = plural(fitted.runs, "run"), plural(len(fitted.traces), "schedule")
    say(f"multi-power law of {metric} at the peak rate {fitted.law.peak:g}, of {runs} of {schedules}")
    say(f"at most {plural(fitted.steps, 'step')} long; their last losses are {100 * fitted.scatter:.2g}% off the law")
    if fitted.short:
        say(f"left out: {plural(fitted.short, 'run')} too short beside the longest")
    console.print(parameters_table(fitted))
    if predictions:
        console.print(predictions_table(predictions))
    if any(one.measured for one in predictions):
        say(agreement(predictions))
    if fitted.poor:
        say("warning: the law does not describe these runs, so it cannot predict others")
    for one in predictions:
        for warning in one.warnings:
            say(f"warning: {one.label}: {warning}")
