"""The LightningModule: network, optimizer and schedule."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal

import pytorch_lightning as pl
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from lrdecay.adapters.groups import rates_apart
from lrdecay.adapters.quantities import momentum_of
from lrdecay.adapters.rates import Rates
from lrdecay.adapters.torch import TorchSchedule, scheduler_errors
from lrdecay.errors import within
from lrdecay.schedules import Horizon, Length, Scale, Schedule
from lrdecay.training import requirements
from lrdecay.training.averages import Averages
from lrdecay.training.conflicts import check_undisturbed
from lrdecay.training.journal import Journal
from lrdecay.training.loaders import Order
from lrdecay.training.resumption import Resumption, describe
from lrdecay.training.scheduled import Quantities
from lrdecay.training.tally import Batch, Outcomes, Tally

CHECKPOINT_VERSION = 2
"""To be raised when a checkpoint holds something else."""


class Classifier(pl.LightningModule):
    """Trains a classifier with cross-entropy under a learning-rate schedule.

    What is measured is kept by its `Journal`, and how it continues from a checkpoint is up to its `Resumption`.

    Args:
        model: what a batch holds, such as images, batch × channels × height × width in [0, 1], to logits, batch × …
            × classes.
        make_optimizer: model to optimizer; each parameter group's own rate is η₀.
        schedule: multiplies it at every step, or a scheduler of torch's.
        scale: multiplies it too, following a metric.
        on_divergence: ``stop`` raises `DivergedError` at a loss that is not finite, ``continue`` does not.
        monitor: the metric by which a measurement is the best, ``val/acc`` or ``val/loss``.
        length: of the run, where it is not the trainer's.
        scheduled: schedules of other quantities, see `Quantities`.
        label_smoothing: of the loss that is trained with, in [0, 1); metrics are without it.
    """

    def __init__(
        self,
        model: nn.Module,
        make_optimizer: Callable[[nn.Module], Optimizer],
        schedule: Schedule | TorchSchedule,
        scale: Scale | None = None,
        on_divergence: Literal["stop", "continue"] = "stop",
        monitor: str = "val/acc",
        length: Length | None = None,
        scheduled: Mapping[str, Schedule] | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.model = model
        self.make_optimizer = make_optimizer
        self.schedule = schedule
        self.scale = scale
        self.length = length or Length()
        self.scheduled = dict(scheduled or {})
        self.label_smoothing = label_smoothing
        self.quantities: Quantities | None = None
        self.horizon: Horizon | None = None
        self.rates: Rates | None = None
        self.journal = Journal(monitor, on_divergence)
        self.resumption = Resumption()
        self.order = Order()
        self.averages = Averages()
        self.outcomes = Outcomes()
        self._apart: dict[str, int] = {}
        self._configured: tuple[Any, int, int] = (None, 0, 0)

    def configure_optimizers(self) -> Any:
        """The optimizer, and the selected schedule stepped at every optimizer step."""
        self.horizon = requirements.horizon(self.trainer, self.length)
        optimizer = self.make_optimizer(self.model)
        requirements.check_clipping(self.trainer, optimizer)
        if self.scale is not None:
            requirements.check_scale(self.trainer, self.scale, self.schedule)
        self.averages = Averages(optimizer)
        self._apart = rates_apart(optimizer)
        with within("schedule"):
            if isinstance(self.schedule, TorchSchedule):
                requirements.check_monitor(self.trainer, self.schedule.monitor)
                self.schedule.rehearse(optimizer, self.horizon)
                settings = self.schedule.attach(optimizer)
            else:
                self.rates = Rates(optimizer, self.schedule, self.horizon, self.scale)
                requirements.warn_of_a_fixed_rate(self.schedule, self.horizon)
                settings = {"scheduler": self.rates.scheduler, "interval": "step"}
        if self.scheduled:
            requirements.check_scheduled(self.scheduled, self.schedule)
            self.quantities = Quantities(self.scheduled, self, optimizer, self.horizon)
        accumulated = self.trainer.accumulate_grad_batches
        self._configured = settings["scheduler"], len(optimizer.param_groups), accumulated
        return {"optimizer": optimizer, "lr_scheduler": settings}

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        if gradient_clip_val is not None:  # Lightning would visit every parameter to find out
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        if self.rates is not None:
            scheduler.step()
            return
        with within("schedule"), scheduler_errors():
            super().lr_scheduler_step(scheduler, metric)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.model(inputs)
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        inputs, labels = batch
        logits, labels = self.model(inputs).flatten(end_dim=-2), labels.flatten()
        self.journal.train.add(logits, labels)
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)

    # Lightning inspects it at every step, which takes 40 µs where it is not written down.
    training_step.__signature__ = inspect.signature(training_step)  # type: ignore[attr-defined]

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        if self.quantities is not None:
            self.journal.beside |= self.quantities.before_step(self.trainer.global_step)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        step = self.trainer.global_step
        group = optimizer.param_groups[0]
        self.journal.note_rate(step, group["lr"])
        if self.rates is not None and self.rates.more_than_rates:
            self.rates.before_step(step)
            if (momentum := momentum_of(group)) is not None:
                self.journal.beside["momentum"] = momentum
        for name, index in self._apart.items():
            self.journal.beside[name] = optimizer.param_groups[index]["lr"]

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        self.journal.end_batch(self.trainer)

    def on_train_start(self) -> None:
        assert self.horizon is not None, "known once the optimizer is configured"
        self.journal.begin(self.trainer, self.horizon.total_steps)
        if not self.resumption.restore(self):
            self.order.begin(self.trainer)
        self.averages.train()

    def on_train_epoch_start(self) -> None:
        check_undisturbed(self.trainer, *self._configured)
        self.order.follow(self.trainer)
        self.journal.begin_epoch()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.outcomes.add(self._evaluate(batch), batch[1])

    def on_validation_start(self) -> None:
        self.averages.use()

    def on_validation_end(self) -> None:
        if self.trainer.state.fn == "fit":
            self.averages.train()

    def on_train_end(self) -> None:
        self.averages.use()

    def on_validation_epoch_end(self) -> None:
        if self.trainer.sanity_checking:  # some batches through untrained weights
            self.journal.evaluated = Tally()
            return
        self._publish(self.journal.end_validation(self.trainer))

    def on_test_epoch_end(self) -> None:
        self._publish(self.journal.end_evaluation(self.trainer, "test"))

    def on_train_epoch_end(self) -> None:
        self._follow(self.journal.end_epoch(self.trainer))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        own = self.journal.state()
        own |= {"schedule": describe(self.schedule), "train": self.journal.train.state(), "version": CHECKPOINT_VERSION}
        own["should_stop"] = self.trainer.should_stop
        own["horizon"] = dataclasses.asdict(self.horizon) if self.horizon else None
        own["scale"] = self.scale.state() if self.scale else None
        if self.averages.needed:
            self.averages.use()
            checkpoint["state_dict"] = {key: value.clone() for key, value in self.state_dict().items()}
            checkpoint["optimizer_states"] = [optimizer.state_dict() for optimizer in self.trainer.optimizers]
            own["trained"] = self.averages.trained
            self.averages.train()
        own["order"] = self.order.state(self.trainer)
        checkpoint["lrdecay"] = own

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.resumption.load(self, checkpoint)

    def _evaluate(self, batch: Batch) -> Tensor:
        inputs, labels = batch
        logits: Tensor = self.model(inputs)
        self.journal.evaluated.add(logits.flatten(end_dim=-2), labels.flatten())
        return logits

    def _publish(self, metrics: dict[str, float]) -> None:
        """For callbacks that monitor a metric; the loggers have got the numbers themselves, not as float32."""
        self.log_dict(metrics, logger=False)
        self._follow(metrics)

    def _follow(self, metrics: dict[str, float]) -> None:
        """Lets the scale read its metric, if it is among these."""
        if self.rates is not None and self.scale is not None and self.scale.metric in metrics:
            self.scale.read(metrics[self.scale.metric])
            self.rates.rescale()
