"""Lightning callbacks: the progress bar, the record kept up to date, TensorBoard's pages."""

import time
from typing import Any, ClassVar

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, Checkpoint
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from rich import get_console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard.summary import hparams

from lrdecay.console import format_metric
from lrdecay.module import Classifier
from lrdecay.record import Record


class ProgressBar(Callback):
    """One line on a terminal: epoch, steps, steps per second, last validation, time left.

    It counts at every step but draws a few times a second only, and never reads a tensor, so that it costs nothing
    that can be measured. Where the output is not a terminal nothing is drawn.

    Args:
        every: seconds between two drawings.
    """

    def __init__(self, every: float = 0.25) -> None:
        self.every = every
        self._progress: Progress | None = None
        self._next = 0.0
        self._started = 0.0
        self._start_step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        console = get_console()
        if not (trainer.is_global_zero and console.is_terminal):
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.completed:.0f}/{task.total:.0f} steps · {task.fields[status]}"),
            TimeRemainingColumn(),
        )
        # Drawn from the hook below, without a thread that would take time from the training.
        self._progress = Progress(*columns, console=console, auto_refresh=False, transient=True)
        self._task = self._progress.add_task("", total=trainer.estimated_stepping_batches, status="")
        self._progress.start()
        self._started, self._start_step = time.monotonic(), trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if self._progress is None or (now := time.monotonic()) < self._next:
            return
        self._next = now + self.every
        steps = trainer.global_step
        status = f"{(steps - self._start_step) / (now - self._started):.0f}/s"
        assert isinstance(trainer.lightning_module, Classifier)
        if epochs := trainer.lightning_module.epochs:
            status += f" · val/acc {format_metric('val/acc', epochs[-1].get('val/acc'))}"
        epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        self._progress.update(self._task, completed=steps, description=epoch, status=status)
        self._progress.refresh()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


class RecordKeeper(Checkpoint):
    """Writes the record after every epoch, so that a run which is cut off keeps its curves.

    (A `Checkpoint` because Lightning calls these after the module has closed its epoch.)
    """

    def __init__(self, record: Record) -> None:
        self.record = record
        self._started = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Classifier)
        self.record.epochs = pl_module.epochs
        self.record.seconds_per_epoch = (time.monotonic() - self._started) / len(pl_module.epochs)
        if trainer.is_global_zero:
            self.record.write()


class Hyperparameters(Callback):
    """Tells the loggers what the run was.

    TensorBoard gets a Custom Scalars page with train and validation in one chart, and at the end an HParams session
    whose metrics are the curves' last values. Other loggers get the values at the start.

    Args:
        values: plain values by name.
    """

    METRICS = ("train/loss", "train/acc", "val/loss", "val/acc", "test/loss", "test/acc")
    LAYOUT: ClassVar = {
        "learning curves": {
            "loss": ["Multiline", ["train/loss", "val/loss"]],
            "accuracy": ["Multiline", ["train/acc", "val/acc"]],
            "learning rate": ["Multiline", ["lr"]],
        }
    }

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_custom_scalars(self.LAYOUT)
                logger.hparams.update(self.values)  # for the hparams.yaml that it writes
            elif not isinstance(logger, CSVLogger):
                logger.log_hyperparams(self.values)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        values = {
            key: value if isinstance(value, bool | int | float | str) else str(value)
            for key, value in self.values.items()
        }
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                # Lightning's own log_hyperparams would log each metric once more, at step 0.
                for summary in hparams(values, dict.fromkeys(self.METRICS, 0.0)):
                    logger.experiment.file_writer.add_summary(summary)
