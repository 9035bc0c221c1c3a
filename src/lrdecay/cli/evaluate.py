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
from lrdecay.errors import ConfigError
from lrdecay.imports import importing
from lrdecay.records.record import Record
from lrdecay.reports.console import relative
from lrdecay.runs.resume import read_record
from lrdecay.text import plural


def was_tuned(record: Record) -> object:
    """What cannot be undone in a process; see `lrdecay.training.process`."""
    process = record.plan.config.get("process")
    return process.get("tune") if isinstance(process, dict) else None


def in_its_own_process(*arguments: Any) -> dict[str, float]:
    """`lrdecay.runs.evaluation.evaluate` in a new process."""
    from lrdecay.runs.evaluation import evaluate

    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(evaluate, *arguments).result()


def main(conf: Path) -> None:
    parser = parser_of("evaluate", __doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders of runs")
    parser.add_argument("--checkpoint", choices=("last", "best"), default="last", help="which weights [last]")
    parser.add_argument("--trust", action="store_true", help="also build classes that are not this project's")
    arguments = parse(parser)
    records = [read_record(folder) for folder in arguments.runs if folder.is_dir() or not folder.exists()]
    if not records:
        raise ConfigError(f"{arguments.runs[0]}: not the folder of a run")

    with importing():
        from lrdecay.runs import evaluation  # torch: not for --help

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    different = failed = 0
    for record in records:
        # In a process of its own, where this one has been prepared otherwise for an earlier run.
        evaluate = in_its_own_process if was_tuned(record) != was_tuned(records[0]) else evaluation.evaluate
        try:
            measured = evaluate(record, f"{arguments.checkpoint}.ckpt", conf, arguments.trust)
        except ConfigError as error:  # such as a run that diverged before its first checkpoint: others follow
            print(f"error: {error}", file=sys.stderr)
            failed += 1
            continue
        for key, value in measured.items():
            recorded = record.outcome.final.get(key)
            print(f"{relative(record.directory)}: {key} {value} · recorded {recorded}", flush=True)
            # The record has the metrics of the final weights.
            different += arguments.checkpoint == "last" and value != recorded
    if different:
        sys.exit(f"error: {plural(different, 'metric')} not as recorded")
    if failed:
        sys.exit(1)
