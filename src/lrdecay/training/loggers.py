"""The logs of a run's folder, ``metrics.csv`` and TensorBoard's: continued from where a checkpoint was written."""

import csv
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytorch_lightning.loggers as pl_loggers
from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers.csv_logs import ExperimentWriter

from lrdecay.errors import ConfigError
from lrdecay.files import write_atomically
from lrdecay.metrics import METRICS_FILE

EVENT_FILES = "events.out.tfevents.*"


class CSVLogger(pl_loggers.CSVLogger):
    """Lightning's, which would delete the ``metrics.csv`` that is there; this one appends to it."""

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._experiment is None:
            self._experiment = _Appended(self.log_dir)
        return self._experiment


class _Appended(ExperimentWriter):
    def _check_log_dir_exists(self) -> None:
        file = Path(self.metrics_file_path)
        if file.is_file():
            with file.open(newline="") as rows:
                self.metrics_keys = next(csv.reader(rows), [])

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        file = Path(self.metrics_file_path)
        with file.open(newline="") as old:
            rows = list(csv.DictReader(old))
        new = io.StringIO(newline="")
        writer = csv.DictWriter(new, fieldnames)
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(file, new.getvalue().encode())  # a moment without the file could be the last


def position(folder: Path, loggers: Iterable[Any]) -> dict[str, int]:
    """How far the logs of a run have come, everything logged being on disk: rows, or bytes, of each file."""
    for logger in loggers:
        if isinstance(logger, pl_loggers.TensorBoardLogger):
            logger.experiment.flush()
        else:
            logger.save()
    for file in [*folder.glob(METRICS_FILE), *folder.glob(EVENT_FILES)]:
        with file.open("rb") as written:
            os.fsync(written.fileno())
    rows = len(_lines(folder / METRICS_FILE)) - 1
    sizes = {file.name: file.stat().st_size for file in folder.glob(EVENT_FILES)}
    return {METRICS_FILE: max(rows, 0)} | sizes


def rewind(folder: Path, position: dict[str, int]) -> None:
    """Takes what came after `position` out of the logs: everything, where it is empty.

    Raises:
        ConfigError: something before it is missing.
    """
    metrics, rows = folder / METRICS_FILE, position.get(METRICS_FILE, 0)
    lines = _lines(metrics)
    if rows and (len(lines) <= rows or not b"".join(lines).isascii()):
        raise ConfigError(f"{metrics}: must have the {rows} rows that it had when the checkpoint was written")
    if not rows:
        metrics.unlink(missing_ok=True)
    elif len(lines) > rows + 1:
        write_atomically(metrics, b"".join(lines[: rows + 1]))
    for file in folder.glob(EVENT_FILES):
        size = position.get(file.name, 0)
        if size == 0:
            file.unlink()
        elif size < file.stat().st_size:
            with file.open("r+b") as events:
                events.truncate(size)


def _lines(file: Path) -> list[bytes]:
    return file.read_bytes().splitlines(keepends=True) if file.is_file() else []
