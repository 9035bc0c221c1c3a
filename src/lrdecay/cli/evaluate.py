"""Tests the saved weights of runs, and compares the metrics with those on record.

lrdecay evaluate outputs/runs/NAME
lrdecay evaluate outputs/sweeps/NAME/* --checkpoint best
"""

import logging
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from lrdecay.cli.arguments import parse, parser_of
from lrdecay.cli.errors import MISTAKES
from lrdecay.config.messages import full_errors, one_line
from lrdecay.errors import ConfigError
from lrdecay.imports import importing
from lrdecay.records.record import Record
from lrdecay.reports.console import relative
from lrdecay.runs.resume import read_record
from lrdecay.text import plural


def tuning(record: Record) -> object:
    """What cannot be undone in a process; see `lrdecay.training.process`."""
    process = record.plan.config.get("process")
    return process.get("tune") if isinstance(process, dict) else None


def measured(record: Record, done: set[object], *arguments: Any) -> dict[str, float]:
    """The metrics of a run's weights, measured in a new process where this one has been prepared for other runs.

    Args:
        record: of the run.
        done: how this process has been prepared so far; added to.
        arguments: see `lrdecay.runs.evaluation.evaluate`.
    """
    from lrdecay.runs.evaluation import evaluate

    if not done <= {tuning(record)}:
        with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as process:
            return process.submit(evaluate, record, *arguments).result()
    done.add(tuning(record))
    return evaluate(record, *arguments)


def main(conf: Path) -> None:
    parser = parser_of("evaluate", __doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders of runs")
    parser.add_argument("--checkpoint", choices=("last", "best"), default="last", help="which weights [last]")
    parser.add_argument("--trust", action="store_true", help="also build classes that are not this project's")
    arguments = parse(parser)
    folders = [folder for folder in arguments.runs if folder.is_dir() or not folder.exists()]
    if not folders:
        raise ConfigError(f"{arguments.runs[0]}: not the folder of a run")

    with importing():
        import lrdecay.runs.evaluation  # noqa: F401  # torch: not for --help

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    different, failed, done = 0, 0, set[object]()
    for folder in folders:
        try:
            record = read_record(folder)
            values = measured(record, done, f"{arguments.checkpoint}.ckpt", conf, arguments.trust)
        except MISTAKES as error:  # such as a run that diverged before its first checkpoint: others follow
            if full_errors() or len(folders) == 1:
                raise
            print(f"error: {one_line(error)}", file=sys.stderr)
            failed += 1
            continue
        for key, value in values.items():
            recorded = record.outcome.final.get(key)
            print(f"{relative(record.directory)}: {key} {value} · recorded {recorded}", flush=True)
            # The record has the metrics of the final weights.
            different += arguments.checkpoint == "last" and value != recorded
    if different:
        sys.exit(f"error: {plural(different, 'metric')} not as recorded")
    if failed:
        sys.exit(f"error: {failed} of {plural(len(folders), 'run')} could not be tested")
