"""LightningModules whose training follows a schedule: what all have in common, and the classifier."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch.nn.functional as F
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import Tensor, nn
from torch.optim import Optimizer

from lrdecay.adapters.torch import TorchSchedule
from lrdecay.schedules import Length, Scale, Schedule
from lrdecay.training.course import Course
from lrdecay.training.journal import Journal, OnDivergence
from lrdecay.training.tally import Batch, Outcomes, Tally


class ScheduledModule(pl.LightningModule):
    """Follows its `course`: Lightning's hooks, each of which calls that of the class behind this one.

    What it knows is kept in ``course`` alone, so that it can be put before anybody's module.
    """

    course: Course

    def on_train_start(self) -> None:
        super().on_train_start()
        self.course.begin(self)

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        self.course.begin_epoch(self.trainer)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> Any:
        self.course.before_batch(self.trainer.global_step)
        return super().on_train_batch_start(batch, batch_idx)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        super().on_before_optimizer_step(optimizer)
        self.course.before_step(optimizer, self.trainer.global_step)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        accumulation = self.course.accumulation
        if accumulation.ends(self.trainer.is_last_batch):
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
            accumulation.gathered = 0
            return
        self.course.before_step(optimizer, self.trainer.global_step)  # of the run, though not of the optimizer
        with accumulation.apart(self.trainer.strategy):
            optimizer_closure()
        accumulation.gathered += 1

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer) -> None:
        if not self.course.accumulation.gathered:
            super().optimizer_zero_grad(epoch, batch_idx, optimizer)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        size = self.course.accumulation.size
        super().backward(loss if size == 1 else loss / size, *args, **kwargs)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_end(outputs, batch, batch_idx)
        self.course.journal.end_batch(self.trainer)

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        self.course.step(scheduler, lambda: super(ScheduledModule, self).lr_scheduler_step(scheduler, metric))

    def on_validation_start(self) -> None:
        super().on_validation_start()
        self.course.averages.use()

    def on_validation_end(self) -> None:
        super().on_validation_end()
        if self.trainer.state.fn == "fit":
            self.course.averages.train()

    def on_train_end(self) -> None:
        super().on_train_end()
        self.course.averages.use()

    def on_train_epoch_end(self) -> None:
        super().on_train_epoch_end()
        self.course.follow(self.course.journal.end_epoch(self.trainer))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        before = set(checkpoint)
        super().on_save_checkpoint(checkpoint)
        added = {key: checkpoint[key] for key in set(checkpoint) - before}
        self.course.save(self, checkpoint, added)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self.course.resumption.load(self.course, self.trainer, checkpoint)


def is_tested(module: pl.LightningModule, data: pl.LightningDataModule | None) -> bool:
    """Whether there is a test of the final weights, and something to test them with."""
    loaders = any(is_overridden("test_dataloader", owner) for owner in (module, data) if owner is not None)
    return is_overridden("test_step", module) and loaders


def course_of(module: pl.LightningModule) -> Course:
    """The course of a module that is trained here."""
    assert isinstance(module, ScheduledModule), "no other is"
    return module.course


class Classifier(ScheduledModule):
    """Trains a classifier with cross-entropy under a learning-rate schedule.

    Args:
        model: what a batch holds, such as images, batch × channels × height × width in [0, 1], to logits, batch × …
            × classes.
        schedule: multiplies the rate at every step, or a scheduler of torch's.
        make_optimizer: model to optimizer; each parameter group's own rate is η₀.
        scale: multiplies the rate too, following a metric.
        length: of the run, where it is not the trainer's.
        scheduled: schedules of other quantities, see `Quantities`.
        monitor: the metric by which a measurement is the best, ``val/acc`` or ``val/loss``.
        on_divergence: ``stop`` raises `DivergedError` at a loss that is not finite, ``continue`` does not.
        label_smoothing: of the loss that is trained with, in [0, 1); metrics are without it.
    """

    def __init__(
        self,
        model: nn.Module,
        schedule: Schedule | TorchSchedule,
        make_optimizer: Callable[[nn.Module], Optimizer] | None,
        scale: Scale | None = None,
        length: Length | None = None,
        scheduled: Mapping[str, Schedule] | None = None,
        monitor: str = "val/acc",
        on_divergence: OnDivergence = "stop",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.model = model
        self.label_smoothing = label_smoothing
        self.course = Course(schedule, make_optimizer, scale, length, scheduled, Journal(monitor, on_divergence))
        self.outcomes = Outcomes()

    def configure_optimizers(self) -> Any:
        """The optimizer, and the selected schedule stepped at every optimizer step."""
        return self.course.configure(self, self.model)

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        if gradient_clip_val is not None:  # Lightning would visit every parameter to find out
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.model(inputs)
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        inputs, labels = batch
        logits, labels = self.model(inputs).flatten(end_dim=-2), labels.flatten()
        self.course.journal.train.add(logits, labels)
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)

    # Lightning inspects it at every step, which takes 40 µs where it is not written down.
    training_step.__signature__ = inspect.signature(training_step)  # type: ignore[attr-defined]

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.outcomes.add(self._evaluate(batch), batch[1])

    def on_validation_epoch_end(self) -> None:
        journal = self.course.journal
        if self.trainer.sanity_checking:  # some batches through untrained weights
            journal.evaluated = Tally()
            return
        self._publish(journal.end_validation(self.trainer))

    def on_test_epoch_end(self) -> None:
        self._publish(self.course.journal.end_evaluation(self.trainer, "test"))

    def _evaluate(self, batch: Batch) -> Tensor:
        inputs, labels = batch
        logits: Tensor = self.model(inputs)
        self.course.journal.evaluated.add(logits.flatten(end_dim=-2), labels.flatten())
        return logits

    def _publish(self, metrics: dict[str, float]) -> None:
        """For callbacks that monitor a metric; the loggers have got the numbers themselves, not as float32."""
        self.log_dict(metrics, logger=False)
        self.course.follow(metrics)
