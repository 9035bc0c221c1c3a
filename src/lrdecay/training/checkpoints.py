"""Checkpoints: written whole or not at all, read without executing anything, and enough to resume a run exactly."""

import os
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import CheckpointIO
from pytorch_lightning.callbacks import Checkpoint

from lrdecay.errors import ConfigError, is_integer, is_number, require
from lrdecay.files import sync_folder, write_atomically
from lrdecay.records.validation import mismatch
from lrdecay.training import internals
from lrdecay.training.course import CHECKPOINT_VERSION
from lrdecay.training.loggers import position
from lrdecay.training.module import course_of
from lrdecay.training.randomness import random_state

FOLDER, LAST, BEST = "checkpoints", "last.ckpt", "best.ckpt"


class AtomicCheckpointIO(CheckpointIO):
    """Files that are there whole or not at all; the previous one stays until the new one is complete."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(Path(path), lambda file: torch.save(checkpoint, file))

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint of this package holds, on the CPU; plain values and tensors, nothing in it is executed.

    Raises:
        ConfigError: it cannot be read, is damaged, or holds something else.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    try:
        with zipfile.ZipFile(path) as parts:  # torch does not look at the checksums that it writes
            intact = parts.testzip() is None and min(part.header_offset for part in parts.infolist()) == 0
        checkpoint = torch.load(path, map_location="cpu", weights_only=True) if intact else None
    except Exception as error:  # torch raises nearly any kind at a file of another kind
        raise ConfigError(
            f"{path}: damaged, or not a checkpoint of this package; nothing in it was executed"
        ) from error
    if not (isinstance(checkpoint, dict) and isinstance(checkpoint.get("lrdecay"), dict)):
        raise ConfigError(f"{path}: damaged, or not a checkpoint of this package")
    if (version := checkpoint["lrdecay"].get("version")) != CHECKPOINT_VERSION:
        raise ConfigError(f"{path}: checkpoint version {version} is not supported; must be {CHECKPOINT_VERSION}")
    try:
        msgspec.convert(checkpoint, Content)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: an incomplete checkpoint{mismatch(error)}") from error
    return checkpoint


class Content(msgspec.Struct):
    """What a checkpoint must hold, beside what others add to it."""

    state_dict: dict[str, Any]
    optimizer_states: list[dict[str, Any]]
    loops: dict[str, Any]
    random: dict[str, Any]
    global_step: Annotated[int, msgspec.Meta(ge=0)]
    logs: dict[str, Annotated[int, msgspec.Meta(ge=0)]]
    """See `lrdecay.training.loggers.position`."""


class Checkpoints(Checkpoint):
    """``last.ckpt`` after every epoch, and between if asked; ``best.ckpt``, the weights that validated best.

    They are written between two optimizer steps, when everything that belongs to the first is done, validation and
    logs among it, and hold all that the next one depends on.

    Args:
        monitor: the metric of ``best.ckpt``, such as ``val/acc``; ``None`` for no such file.
        every_n_steps: also write ``last.ckpt`` every this many optimizer steps.
        every_minutes: also write it every this many minutes.

    Raises:
        BadValue: a value is out of its range.
    """

    def __init__(
        self,
        monitor: str | None = "val/acc",
        every_n_steps: int | None = None,
        every_minutes: float | None = None,
    ) -> None:
        steps = every_n_steps is None or (is_integer(every_n_steps) and every_n_steps >= 1)
        require(steps, "every_n_steps", every_n_steps, "an integer, at least 1, or null")
        minutes = every_minutes is None or (is_number(every_minutes) and every_minutes > 0)
        require(minutes, "every_minutes", every_minutes, "a number above 0, or null")
        require(monitor is None or isinstance(monitor, str), "monitor", monitor, "the name of a metric, or null")
        self.monitor = monitor
        self.every_n_steps = every_n_steps
        self.every_minutes = every_minutes
        self._saved_step = 0
        self._best_step = -1
        self._saved_time = 0.0
        self._between_epochs = True
        self._saving = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._saved_step, self._saved_time = trainer.global_step, time.monotonic()
        self._best_step = course_of(pl_module).journal.best.get("step", -1)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        due = self._due(trainer) and course_of(pl_module).is_between_steps(trainer, batch_idx)
        self._save_within_epoch(trainer, pl_module, last=due)

    def save_before_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes what is not written yet between two steps of an epoch, since the run is about to end there."""
        self._save_within_epoch(trainer, pl_module, last=trainer.global_step != self._saved_step)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The final weights can be the best, and be measured only when the training has ended."""
        last = Path(trainer.default_root_dir) / FOLDER / LAST
        if trainer.state.fn == "validate" and self._improved(trainer, pl_module) and trainer.is_global_zero:
            _link(last, last.with_name(BEST))
            self._best_step = trainer.global_step - 1

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Not at the end of the last one, where some schedulers have not been stepped yet.
        self._close_epoch(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close_epoch(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self._saving:  # and not another callback, in the middle of something
            internals.settle(checkpoint, self._between_epochs)
        checkpoint["random"] = random_state(trainer.strategy.root_device)
        checkpoint["logs"] = position(Path(trainer.default_root_dir), trainer.loggers)

    def _due(self, trainer: pl.Trainer) -> bool:
        steps = trainer.global_step - self._saved_step
        if steps == 0:
            return False
        if self.every_n_steps is not None and steps >= self.every_n_steps:
            return True
        if self.every_minutes is None:
            return False
        due = time.monotonic() - self._saved_time >= 60 * self.every_minutes
        return trainer.strategy.broadcast(due) if trainer.world_size > 1 else due  # each has a clock of its own

    def _save_within_epoch(self, trainer: pl.Trainer, pl_module: pl.LightningModule, last: bool) -> None:
        # The best first: were this the last moment, the steps before would be done again, and both be written.
        names = [BEST] if self._improved(trainer, pl_module) else []  # by a validation within the epoch
        names += [LAST] if last else []
        if names:
            self._save(trainer, between_epochs=False, names=names)

    def _close_epoch(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_step == self._saved_step and self._between_epochs:
            return
        improved = self._improved(trainer, pl_module)
        self._save(trainer, between_epochs=True, names=(BEST, LAST) if improved else (LAST,))

    def _improved(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> bool:
        """Whether the weights as they are now were measured to be the best, and are not kept as that yet."""
        step = course_of(pl_module).journal.best.get("step", -1)
        skipped = self.monitor is None or trainer.fast_dev_run  # type: ignore[attr-defined]
        return not skipped and step == trainer.global_step - 1 and step != self._best_step

    def _save(self, trainer: pl.Trainer, between_epochs: bool, names: Sequence[str] = (LAST,)) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        folder = Path(trainer.default_root_dir) / FOLDER
        self._between_epochs, self._saving = between_epochs, True
        try:
            trainer.save_checkpoint(folder / names[0])
        finally:
            self._saving = False
        if trainer.is_global_zero:
            for name in names[1:]:
                _link(folder / names[0], folder / name)
        if BEST in names:
            self._best_step = trainer.global_step - 1
        if LAST in names:
            self._saved_step, self._saved_time = trainer.global_step, time.monotonic()


def _link(source: Path, target: Path) -> None:
    """Makes `target` what `source` is now, by a second name where the file system has those."""
    temporary = target.with_name(f".{target.name}-{os.getpid():08}")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        write_atomically(target, source.read_bytes())
    else:
        temporary.replace(target)
        sync_folder(target.parent)
