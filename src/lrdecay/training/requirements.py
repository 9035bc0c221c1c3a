"""What a schedule, a scale and an optimizer need of the trainer: looked at before the first step."""

import logging
from collections.abc import Collection

import numpy as np
import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch.optim import Optimizer

from lrdecay.adapters.lightning import horizon_of
from lrdecay.adapters.torch import TorchSchedule
from lrdecay.errors import BadValue, ConfigError, within
from lrdecay.metrics import Metrics
from lrdecay.schedules import Constant, Horizon, Length, Scale, Schedule
from lrdecay.training import internals

log = logging.getLogger(__name__)

LOOKED_AT = 1_000_000
"""Steps of a long run at which a schedule is evaluated, to see whether it changes at all."""


def horizon(trainer: pl.Trainer, length: Length) -> Horizon:
    """The horizon of the run that the trainer is about to train, which it trains then.

    Raises:
        ConfigError: it has no batches, or no end.
    """
    if length.duration is not None and not trainer.fast_dev_run:  # type: ignore[attr-defined]
        train_for(trainer, 1)  # until it is known how long; with an end, Lightning counts the batches
    try:
        with within("trainer"):
            found = horizon_of(trainer)
    except ConfigError:
        raise
    except (ValueError, MisconfigurationException) as error:
        raise ConfigError(f"trainer: {error}") from error
    if found.steps_per_epoch is None:
        raise ConfigError("trainer.limit_train_batches: must be given, since the data do not say how long an epoch is")
    if trainer.fast_dev_run:  # type: ignore[attr-defined]
        return found
    with within():
        planned = length.horizon(found.total_steps, found.steps_per_epoch)
    if length.decides:
        train_for(trainer, planned.total_steps)
    return planned


def train_for(trainer: pl.Trainer, steps: int) -> None:
    """Makes the trainer train for so many optimizer steps, however many epochs they are."""
    trainer.fit_loop.max_epochs = -1
    trainer.fit_loop.epoch_loop.max_steps = steps


def warn_of_a_fixed_rate(schedule: Schedule, horizon: Horizon) -> None:
    """Warns where a schedule that is not constant by name never changes the rate in this run."""
    total = horizon.total_steps
    if total == 1 or isinstance(schedule, Constant):
        return
    # Of a run of many millions not every step is looked at: a million over the whole, and the first million.
    spread = np.linspace(0, total - 1, min(total, LOOKED_AT)).round().astype(np.int64)
    shown = [spread, np.arange(LOOKED_AT)] if total > LOOKED_AT else [spread]
    factor = schedule.over(horizon)
    if all(np.ptp(factor(steps)) == 0 for steps in shown):
        log.warning("schedule: the rate never changes in this run of %d steps: %r", total, schedule)


def check_scheduled(scheduled: Collection[str], schedule: object) -> None:
    """Refuses a schedule of what the rate's schedule sets itself.

    Raises:
        ConfigError: it sets it.
    """
    if "optimizer.weight_decay" in scheduled and getattr(schedule, "weight_decay", "coupled") == "constant":
        raise ConfigError(
            "schedule.weight_decay=constant: cannot be combined with scheduled.optimizer.weight_decay; use "
            "schedule.weight_decay=coupled"
        )
    if "optimizer.momentum" in scheduled and getattr(schedule, "momentum", None) is not None:
        raise ConfigError("schedule.momentum: must be null with scheduled.optimizer.momentum")


def check_monitor(trainer: pl.Trainer, monitor: str | None) -> None:
    """A scheduler that follows a metric needs it in every epoch.

    Raises:
        BadValue: it would not have it.
    """
    if monitor is not None and not (trainer.enable_validation and trainer.check_val_every_n_epoch == 1):
        raise BadValue(f"monitor={monitor}: must be measured in every epoch; validation is off or less frequent")


def check_scale(trainer: pl.Trainer, scale: Scale, schedule: Schedule | TorchSchedule, known: Metrics) -> None:
    """A scale needs a schedule of ours to multiply, and a metric that is measured.

    Raises:
        ConfigError: it would not have them.
    """
    if isinstance(schedule, TorchSchedule):
        raise ConfigError("scale: cannot be combined with schedule=torch")
    if scale.metric in known.monitored and not trainer.enable_validation:
        trained = " or ".join(reversed(known.of_split("train")))
        raise ConfigError(f"scale.metric={scale.metric}: must be a metric that is logged; without validation {trained}")


def check_clipping(trainer: pl.Trainer, optimizer: Optimizer) -> None:
    """Lightning refuses to clip under a fused optimizer in mixed precision; only a scaler is a reason for that.

    Raises:
        ConfigError: there is one.
    """
    if not internals.unscales_itself(optimizer):
        return
    if getattr(trainer.precision_plugin, "scaler", None) is None:
        internals.allow_clipping(optimizer)
    elif trainer.gradient_clip_val:
        raise ConfigError(
            f"optimizer.fused=true: must be false with trainer.precision={trainer.precision} and "
            f"trainer.gradient_clip_val={trainer.gradient_clip_val}"
        )
