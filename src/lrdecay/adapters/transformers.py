"""Schedules for the ``Trainer`` of transformers, which knows the number of steps only when training begins."""

from collections.abc import Sized
from typing import Any

import transformers
from torch.optim import Optimizer

from lrdecay.adapters.torch import Scheduler
from lrdecay.schedules import Horizon, Schedule


def optimizers(optimizer: Optimizer, schedule: Schedule, horizon: Horizon) -> tuple[Optimizer, Scheduler]:
    """The pair for ``Trainer(optimizers=…)``, where the number of steps is known beforehand.

    Raises:
        BadValue: see `lrdecay.adapters.torch.scheduler`.
    """
    return optimizer, Scheduler(optimizer, schedule, horizon)


class Scheduled:
    """Before ``Trainer`` or a subclass of it, lets it take a schedule: ``class Mine(Scheduled, Seq2SeqTrainer)``.

    Optimizer and learning rate, η₀, are those of the training arguments; their ``lr_scheduler_type`` and their warm-up
    are ignored: the schedule has its own.

    Args:
        args: as for the trainer.
        schedule: of the rate, and of momentum and weight decay where it says so.
        kwargs: as for the trainer.

    Raises:
        BadValue: when training begins: the schedule does not fit.
    """

    args: Any
    optimizer: Any
    lr_scheduler: Any

    def __init__(self, *args: Any, schedule: Schedule, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.schedule = schedule

    def create_scheduler(self, num_training_steps: int, optimizer: Optimizer | None = None) -> Any:
        """The trainer's scheduler, for so many steps."""
        if self.lr_scheduler is None:
            horizon = Horizon(num_training_steps, self._steps_per_epoch())
            self.lr_scheduler = Scheduler(optimizer or self.optimizer, self.schedule, horizon)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def _steps_per_epoch(self) -> int | None:
        batches = self.get_train_dataloader()  # type: ignore[attr-defined]
        if not isinstance(batches.dataset, Sized):
            return None
        return -(-len(batches) // int(self.args.gradient_accumulation_steps))


class ScheduledTrainer(Scheduled, transformers.Trainer):
    """``Trainer`` with a schedule: ``ScheduledTrainer(model, arguments, train_dataset=…, schedule=Cosine())``."""
