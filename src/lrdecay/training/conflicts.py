"""Callbacks that would change, behind a schedule's back, what it rests on: refused before anything is trained."""

import pytorch_lightning as pl
from pytorch_lightning.callbacks import (
    BaseFinetuning,
    BatchSizeFinder,
    Callback,
    GradientAccumulationScheduler,
    LearningRateFinder,
    StochasticWeightAveraging,
)

from lrdecay.commands import as_called
from lrdecay.errors import ConfigError

REFUSED: tuple[tuple[type[Callback], str, str], ...] = (
    (
        StochasticWeightAveraging,
        "replaces the schedule in mid-run",
        "pytorch_lightning.callbacks.WeightAveraging averages weights under any schedule, "
        "and optimizer=schedule_free_adamw without one",
    ),
    (LearningRateFinder, "sets a rate that the schedule replaces", "lrdecay find-lr looks for one"),
    (BatchSizeFinder, "changes how many steps the run has", "data.batch_size sets it"),
    (
        GradientAccumulationScheduler,
        "changes how many steps an epoch has",
        "trainer.accumulate_grad_batches sets the number for the whole run, and a schedule of it changes it: "
        "+schedule@scheduled.trainer.accumulate_grad_batches=piecewise",
    ),
    (BaseFinetuning, "adds parameters in mid-run, which the schedule does not reach", "train them from the start"),
)
"""Kinds of callbacks, what is wrong with them, and what to use instead."""


def refuse_conflicts(callbacks: dict[str, Callback]) -> None:
    """Refuses callbacks under which a schedule would not be what it says.

    Args:
        callbacks: by their names in the configuration.

    Raises:
        ConfigError: one of them is such.
    """
    for name, callback in callbacks.items():
        for kind, why, instead in REFUSED:
            if isinstance(callback, kind):
                raise ConfigError(f"callbacks.{name}: {type(callback).__name__} {why}; {as_called(instead)}")


def check_undisturbed(trainer: pl.Trainer, scheduler: object, groups: int, accumulated: int) -> None:
    """Checks that no other callback has done in mid-run what those do.

    Args:
        trainer: trains.
        scheduler: the one that the run has configured.
        groups: parameter groups that the optimizer had then.
        accumulated: batches of a step, as the horizon counts them.

    Raises:
        ConfigError: one has.
    """
    (config,) = trainer.lr_scheduler_configs
    for changed, what in (
        (config.scheduler is not scheduler, "replaced the schedule"),
        (len(trainer.optimizers[0].param_groups) != groups, "added parameters, which the schedule does not reach"),
        (trainer.accumulate_grad_batches != accumulated, "changed how many steps an epoch has"),
    ):
        if changed:
            raise ConfigError(f"callbacks: one has {what} before epoch {trainer.current_epoch + 1}")
