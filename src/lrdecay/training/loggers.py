"""The logs of a run's folder, ``metrics.csv`` and TensorBoard's: continued from where a checkpoint was written."""

import csv
import io
import os
from collections.abc import Iterable, Mapping
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


class WandbLogger(pl_loggers.WandbLogger):
    """Lightning's; a run that is resumed continues its own run there, also where both are synced later.

    Args:
        save_dir: folder of the run.
        id: of the run there; ``None`` for that of the run which the folder has, or a new one.
        others: see Lightning's.
    """

    def __init__(
        self, save_dir: str | None = None, id: str | None = None, offline: bool = False, **others: Any
    ) -> None:
        # Its folders are named wandb/run-TIME-ID, and wandb/offline-run-TIME-ID.
        folders = [] if save_dir is None else list(Path(save_dir).glob("wandb/*run-*-*"))
        earlier = sorted(folders, key=lambda folder: folder.name.rpartition("run-")[2])
        id = id or (earlier[-1].name.rpartition("-")[2] if earlier else None)
        others = {"resume": None if offline else "allow"} | others  # offline it warns
        super().__init__(save_dir=save_dir or ".", id=id, offline=offline, **others)


class MLFlowLogger(pl_loggers.MLFlowLogger):
    """Lightning's; a run that is resumed continues its own run there.

    Args:
        folder: of the run; the id of its run there is kept in it.
        tags: of the run there; one without a value is left out.
        others: see Lightning's.
    """

    def __init__(self, folder: str | None = None, tags: Mapping[str, Any] | None = None, **others: Any) -> None:
        self._file = None if folder is None else Path(folder, "mlflow_run_id")
        earlier = self._file.read_text().strip() if self._file is not None and self._file.is_file() else None
        given = {key: value for key, value in (tags or {}).items() if value is not None}
        super().__init__(tags=given, **{"run_id": earlier} | others)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        begun = self._initialized
        client = super().experiment
        if not begun and self._file is not None and not self._file.is_file():
            write_atomically(self._file, f"{self._run_id}\n".encode())
        return client


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
