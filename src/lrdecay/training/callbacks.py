"""Lightning callbacks: the progress bar, the record kept up to date, TensorBoard's pages."""

import math
import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from torch.utils.tensorboard.summary import hparams

from lrdecay.records.recorder import Recorder
from lrdecay.schedules.placement import duration_keys
from lrdecay.training import progress
from lrdecay.training.agreement import Agreement
from lrdecay.training.checkpoints import Checkpoints
from lrdecay.training.models import parameter_count
from lrdecay.training.module import course_of, is_tested
from lrdecay.training.stopping import Stop


class ProgressBar(Callback):
    """One line on a terminal: epoch, steps, steps per second, last validation, time left.

    It is drawn a few times a second only, and never reads a tensor, so that it costs nothing that can be measured.
    Where the output is not a terminal nothing is drawn.

    Args:
        every: seconds between two drawings.
    """

    def __init__(self, every: float = 0.25) -> None:
        self.every = every
        self._display: progress.Bars | progress.Sent | None = None
        self._next = 0.0
        self._started = 0.0
        self._start_step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        self._display = progress.display()
        self._started, self._start_step = time.monotonic(), trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if self._display is None or (now := time.monotonic()) < self._next:
            return
        self._next = now + self.every
        steps = trainer.global_step
        status = f"{(steps - self._start_step) / (now - self._started):.0f}/s"
        course = course_of(trainer.lightning_module)
        horizon, journal = course.horizon, course.journal
        assert horizon is not None, "known before the first step"
        if journal.epochs:
            monitor = journal.known[journal.monitor]
            status += f" · {monitor.name} {monitor.text(journal.epochs[-1].get(monitor.name))}"
        epochs = math.ceil(horizon.total_steps / (horizon.steps_per_epoch or horizon.total_steps))
        epoch = f"epoch {trainer.current_epoch + 1}/{epochs}"
        self._display.update(self, description=epoch, completed=steps, total=horizon.total_steps, status=status)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._display is not None:
            self._display.stop()
            self._display = None


class RecordKeeper(Callback):
    """Writes the record after every epoch, so that a run which is cut off keeps its curves, and counts its times.

    Ends the run between two steps when it was asked to stop, with a checkpoint.

    Args:
        recorder: writes.
        stop: whether somebody has asked for the end.
        announce: called when the first step is about to be taken, and not before: an error is to stand alone.
    """

    def __init__(self, recorder: Recorder, stop: Stop, announce: Callable[[pl.Trainer], None]) -> None:
        self.recorder = recorder
        self.stop = stop
        self.announce = announce
        self._started = 0.0
        self._before = 0.0
        self._noted = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = time.monotonic() - self._before
        self._agreement = Agreement(trainer)
        self.stop.listen()  # Lightning's handler of SIGTERM, set just now, would end the run without a checkpoint
        course, plan = course_of(pl_module), self.recorder.record.plan
        plan.parameters = parameter_count(pl_module)  # a module may have made its layers since
        assert course.horizon is not None
        self._noted = len(course.journal.epochs)
        plan.total_steps, plan.steps_per_epoch = course.horizon.total_steps, course.horizon.steps_per_epoch
        if trainer.is_global_zero:
            self.recorder.write()
            self.announce(trainer)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if not course_of(pl_module).is_between_steps(trainer, batch_idx):
            return
        number = self._agreement.ask(self.stop.requested or 0)
        if not number:
            return
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, Checkpoints):
                callback.save_before_end(trainer, pl_module)
        self.stop.agree(number)
        self.stop.obey()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close_epoch(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close_epoch(trainer, pl_module)
        self._agreement.ask(self.stop.requested or 0)
        if number := self._agreement.answer():
            self.stop.agree(number)  # to be obeyed when everything is written

    def _close_epoch(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Notes the epoch that the module has closed since, if it has; its own hook comes after all callbacks'."""
        epochs = course_of(pl_module).journal.epochs
        if len(epochs) == self._noted:
            return
        self._noted = len(epochs)
        progress = self.recorder.record.progress
        progress.epochs, progress.rates = epochs, course_of(pl_module).journal.rates
        progress.steps = trainer.global_step
        now = time.monotonic()
        progress.epoch_seconds.append(now - self._started)
        self._started = now
        if trainer.is_global_zero:
            self.recorder.write()

    def state_dict(self) -> dict[str, Any]:
        of_this = time.monotonic() - self._started
        times = list(self.recorder.record.progress.epoch_seconds)
        return {"epochs": times, "epoch": of_this, "seconds": self.recorder.elapsed()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.recorder.record.progress.epoch_seconds = state_dict["epochs"]
        self._before = state_dict["epoch"]
        self.recorder.count_from(state_dict["seconds"])

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        progress = self.recorder.record.progress
        journal = course_of(pl_module).journal
        progress.epochs, progress.rates = journal.epochs, journal.rates
        progress.steps, progress.divergence = trainer.global_step, journal.divergence.first


class Hyperparameters(Callback):
    """Tells the loggers what the run was.

    TensorBoard gets a Custom Scalars page with train and validation in one chart, and at the end an HParams session
    whose metrics are the curves' last values. Other loggers get the values at the start.

    TensorBoard takes one type for a column, from whichever run it reads first, and answers no request when another run
    has another. So what is a number in one run and a text in another is a text in all: durations, and what a model, a
    data set or somebody's module takes as one number or several. What is null in some runs is not there.

    Args:
        values: plain values by name.
    """

    TEXTS = ("model.hidden", "model.image_size", "data.val_size", "duration")
    OF_TEXTS = ("module.", "scheduled.")

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                if not trainer.ckpt_path:  # a resumed run has it
                    logger.experiment.add_custom_scalars(self._layout(pl_module))
                logger.hparams.update(self.values)  # for the hparams.yaml that it writes
            elif not isinstance(logger, CSVLogger):
                logger.log_hyperparams(self.values)

    def _layout(self, module: pl.LightningModule) -> dict[str, Any]:
        panels = course_of(module).journal.known.panels
        charts = {panel.title: [name for name in (panel.train, panel.val) if name] for panel in panels}
        charts["learning rate"] = ["lr"]
        return {"learning curves": {title: ["Multiline", names] for title, names in charts.items()}}

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not is_tested(pl_module, trainer.datamodule):  # type: ignore[attr-defined]
            self.on_test_end(trainer, pl_module)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        texts = {*self.TEXTS, *(f"schedule.{name}" for name in duration_keys())}
        values = {
            key: value
            if isinstance(value, bool | int | float) and key not in texts and not key.startswith(self.OF_TEXTS)
            else str(value)
            for key, value in self.values.items()
            if value is not None
        }
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                # Lightning's own log_hyperparams would log each metric once more, at step 0.
                for summary in hparams(values, dict.fromkeys(course_of(pl_module).journal.known, 0.0)):
                    logger.experiment.file_writer.add_summary(summary)
