"""A run may take several attempts: the first one starts it, the others continue where the one before stopped."""

import logging
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lrdecay.errors import ConfigError, DivergedError
from lrdecay.files import remove_unfinished
from lrdecay.records.identity import determining, differences
from lrdecay.records.record import Record, RecordError, read
from lrdecay.records.recorder import Recorder
from lrdecay.reports import console
from lrdecay.runs.resume import decides_the_end
from lrdecay.training.checkpoints import BEST, FOLDER, LAST, read_checkpoint
from lrdecay.training.loggers import rewind

log = logging.getLogger(__name__)


@dataclass
class Attempt:
    """An attempt at a run.

    Attributes:
        record: of the run, from the attempt before where there was one.
        noted: what the record notes of it beside the step, when it is entered; ``None`` for the first attempt.
    """

    record: Record
    noted: dict[str, Any] | None = None

    @property
    def first(self) -> bool:
        """Whether the run begins with it."""
        return self.noted is None

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.record.settled and (self.noted or {}).get("mode") != "extend"

    def enter(self, recorder: Recorder, first_process: bool) -> Path | None:
        """Notes the attempt, and takes out of the logs what came after the checkpoint that it continues from.

        Returns:
            The checkpoint; ``None`` where there is none, and the run starts from the beginning.
        """
        record = self.record
        path = record.directory / FOLDER / LAST
        checkpoint = read_checkpoint(path) if not self.first and os.path.lexists(path) else None
        if self.noted is not None:
            if checkpoint is None and "mode" in self.noted:
                raise ConfigError(f"resume_mode=extend: {path}: no such file, so there is nothing to extend")
            if checkpoint is None and record.progress.epochs:
                log.warning("%s is missing: the run restarts", path)
            record.progress.resumed.append({"step": checkpoint["global_step"] if checkpoint else 0} | self.noted)
            if checkpoint is None:
                record.progress.epochs, record.progress.rates, record.progress.epoch_seconds = [], [], []
                recorder.count_from(0.0)
        # From here on the record on disk is this attempt's. Until here nothing was changed: an attempt that is refused,
        # for a value or for a checkpoint that cannot be read, leaves the run as it was.
        outcome = record.outcome
        outcome.status, outcome.error, outcome.traceback, outcome.ended_by = "running", None, None, None
        recorder.underway = True
        if first_process:
            remove_unfinished(record.directory)
            rewind(record.directory, checkpoint["logs"] if checkpoint else {})
            if checkpoint is None:  # what may lie there is not this run's
                for name in (LAST, BEST):
                    (record.directory / FOLDER / name).unlink(missing_ok=True)
            recorder.write()
        return path if checkpoint else None


def find_attempt(record: Record, config: DictConfig, extends: bool) -> Attempt:
    """Which attempt at its run this is, going by the record in the run's folder.

    Args:
        record: of a run that begins now.
        config: its configuration.
        extends: whether it may be longer than before.

    Raises:
        ConfigError: the run in the folder is a different one.
    """
    if not record.file.exists():
        return Attempt(record)
    try:
        earlier = read(record.file)
    except RecordError as error:
        log.warning("%s: the run starts from the beginning", error)
        return Attempt(record)
    # Compared by what determines the result, not by the whole configuration: another logger or progress bar is no
    # different run.
    plain: Any = OmegaConf.to_container(config, resolve=True)
    changed = differences(*(determining(values, earlier.plan.data) for values in (earlier.plan.config, plain)))
    if others := [change for change in changed if not (extends and decides_the_end(change.partition("=")[0]))]:
        folder = console.relative(record.directory)
        raise ConfigError(f"{folder}: already contains a different run: {'; '.join(others)}")
    if earlier.settled:
        earlier.redeclare(plain.get("metrics"))
    noted: dict[str, Any] = {}
    if earlier.plan.code != record.plan.code and not earlier.settled:
        log.warning("%s: the code has changed since the run began", console.relative(record.directory))
        noted = {"code": record.plan.code, "commit": record.plan.commit}
    if extends and changed:  # and not the same command once more
        noted |= {"mode": "extend", "total_steps": earlier.plan.total_steps, "command": record.plan.command}
        earlier.plan.composed = record.plan.composed
    return Attempt(earlier, noted)


def said_before(record: Record, metric: str, alone: bool) -> float:
    """The result that the run had before, and would have again."""
    if record.outcome.status == "diverged":
        raise DivergedError(f"{console.relative(record.directory)}: diverged: {record.outcome.error}")
    if alone:
        console.say(f"already complete: {console.ended(record)}")
    value = record.outcome.final.get(metric)
    return math.nan if value is None else value
