"""Schedules in anybody's LightningModule: one line in its ``configure_optimizers``, or a callback that needs none.

Works with ``pytorch_lightning`` and with ``lightning``, the same under another name, whichever has been imported.
"""

import math
import sys
import warnings
from typing import TYPE_CHECKING, Any

from torch.optim import Optimizer

from lrdecay.adapters.torch import Scheduler
from lrdecay.errors import BadValue
from lrdecay.schedules import Horizon, Schedule

if TYPE_CHECKING or "lightning.pytorch" not in sys.modules:
    import pytorch_lightning as pl
    from pytorch_lightning.utilities.types import LRSchedulerConfig
else:
    import lightning.pytorch as pl
    from lightning.pytorch.utilities.types import LRSchedulerConfig


def horizon_of(trainer: pl.Trainer) -> Horizon:
    """The horizon of the run that a trainer is about to train; known from ``configure_optimizers`` on.

    Raises:
        BadValue: the run has no batches, or no end.
    """
    trainer.fit_loop.setup_data()  # without max_epochs, Lightning would not count the batches yet
    batches, total = trainer.num_training_batches, trainer.estimated_stepping_batches
    if batches < 1 or trainer.limit_train_batches == 0:
        raise BadValue(f"limit_train_batches={trainer.limit_train_batches}: must leave at least 1 training batch")
    if not math.isfinite(total) or total < 1:
        raise BadValue(f"max_epochs={trainer.max_epochs}: a schedule needs an end; give max_steps")
    accumulated = batches / trainer.accumulate_grad_batches
    return Horizon(int(total), math.ceil(accumulated) if math.isfinite(batches) else None)


def configured(
    module: pl.LightningModule, optimizer: Optimizer, schedule: Schedule, horizon: Horizon | None = None
) -> dict[str, Any]:
    """What ``configure_optimizers`` returns: the optimizer, and the schedule that is stepped whenever it is.

    With several optimizers, one of these for each in a list; as their optimisation is manual, call ``step()`` of a
    scheduler of ``self.lr_schedulers()`` after each step of its optimizer.

    Args:
        module: whose trainer knows the horizon.
        optimizer: of which each parameter group's rate is η₀.
        schedule: of the rate, and of momentum and weight decay where it says so.
        horizon: in place of the trainer's, where the optimizer does not step once a batch.

    Raises:
        BadValue: the horizon is not known, or the schedule does not fit.
    """
    scheduler = Scheduler(optimizer, schedule, horizon or horizon_of(module.trainer))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class ScheduleCallback(pl.Callback):
    """Schedules the optimizers of a module that does not: ``Trainer(callbacks=[ScheduleCallback(Cosine())])``.

    Lightning then treats the schedule as if ``configure_optimizers`` had returned it: checkpoints have its state, and
    ``LearningRateMonitor`` logs the rate. With manual optimisation each optimizer's schedule follows its own steps.

    Args:
        schedule: of the rate of each optimizer, and of momentum and weight decay where it says so.
        horizon: in place of the trainer's, where the optimizers do not step once a batch.

    Raises:
        BadValue: when training begins: the module has schedulers of its own, the horizon is not known, or the schedule
            does not fit.
    """

    def __init__(self, schedule: Schedule, horizon: Horizon | None = None) -> None:
        self.schedule, self.horizon = schedule, horizon

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Behind ``configure_optimizers``, and before a checkpoint's state is restored."""
        if trainer.lr_scheduler_configs:
            own = type(trainer.lr_scheduler_configs[0].scheduler).__name__
            raise BadValue(f"schedule={self.schedule}: must be the only one, and there is another scheduler, {own}")
        horizon = self.horizon or horizon_of(trainer)
        for optimizer in trainer.optimizers:
            scheduler = Scheduler(optimizer, self.schedule, horizon)
            trainer.strategy.lr_scheduler_configs.append(LRSchedulerConfig(scheduler, interval="step"))
            if not pl_module.automatic_optimization:  # Lightning steps no scheduler then
                optimizer.register_step_post_hook(lambda *_, scheduler=scheduler: scheduler.step())

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Says so where the run was not as long as the schedule: it ended too high, or stayed low for too long."""
        for scheduler in (config.scheduler for config in trainer.lr_scheduler_configs):
            assert isinstance(scheduler, Scheduler), "those of on_fit_start"
            planned, taken = scheduler.horizon.total_steps, scheduler.last_epoch
            if taken != planned:
                warnings.warn(f"schedule: planned for {planned:,} steps, and {taken:,} were taken", stacklevel=2)
