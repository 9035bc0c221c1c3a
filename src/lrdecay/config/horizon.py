"""The horizon that a configuration means, without the data and without torch."""

import math

from omegaconf import DictConfig

from lrdecay.config.rules import accumulates_by_schedule
from lrdecay.data.catalogue import data_set
from lrdecay.data.splits import split_sizes, windows
from lrdecay.errors import ConfigError, is_integer, require, within
from lrdecay.schedules import Horizon, Length


def horizon(config: DictConfig, steps_per_epoch: int | None = None) -> Horizon:
    """The horizon of a run under this configuration, as the trainer would find it, without the data.

    Args:
        steps_per_epoch: optimizer steps of an epoch, for a data set whose size is not known here.

    Raises:
        ConfigError: the data set's size is not known, or a size does not fit.
    """
    trainer = config.trainer
    fast = int(trainer.get("fast_dev_run") or 0)
    if steps_per_epoch is not None and steps_per_epoch < 1:
        raise ConfigError(f"--steps-per-epoch={steps_per_epoch}: must be an integer, at least 1")
    batches = steps_per_epoch or _batches(config)
    limit = trainer.get("overfit_batches") or trainer.get("limit_train_batches")
    limit = fast or (1.0 if limit is None else limit)
    batches = min(batches, int(limit)) if is_integer(limit) else int(batches * limit)
    if batches < 1:
        raise ConfigError("trainer: an epoch must have at least 1 training batch, and an end")
    per_epoch = math.ceil(batches / batches_per_step(config))
    length = length_of(config)
    if fast:
        return Horizon(min(fast, per_epoch), per_epoch)
    trained = trained_steps(trainer, per_epoch)
    if trained is None and length.duration is None:
        raise ConfigError("trainer.max_epochs=-1: a schedule needs an end; give trainer.max_steps")
    with within():
        return length.horizon(trained, per_epoch)


def trained_steps(trainer: DictConfig, steps_per_epoch: int) -> int | None:
    """The optimizer steps that a trainer's configuration trains for; ``None`` without an end."""
    epochs, steps = trainer.get("max_epochs"), trainer.get("max_steps", -1)
    if epochs is None:  # as Lightning has it
        epochs = 1000 if steps == -1 else -1
    return min((count for count in (epochs * steps_per_epoch, steps) if count > 0), default=None)


def batches_per_step(config: DictConfig) -> int:
    """Batches of a step of the horizon: all whose gradients are accumulated, or one where a schedule says how many.

    Such a run is counted in batches, so that every epoch has as many.
    """
    return 1 if accumulates_by_schedule(config) else int(config.trainer.get("accumulate_grad_batches", 1))


def length_of(config: DictConfig, seconds_per_step: float | None = None) -> Length:
    """How long a configuration wants the run to be.

    Args:
        seconds_per_step: as measured, where that has been.

    Raises:
        ConfigError: the duration is invalid, or the stretch ratio is.
    """
    samples, characters = config.data.get("batch_size"), config.data.get("length")
    if is_integer(samples):
        samples *= batches_per_step(config)
    tokens = samples * characters if is_integer(samples) and is_integer(characters) else None
    known = (samples if is_integer(samples) else None, tokens, seconds_per_step)
    with within():
        return Length(config.get("duration"), config.get("ssr", 1.0), *known)


def _batches(config: DictConfig) -> int:
    known = data_set(config.data)
    available = known.training_items
    if available is None:
        target = config.data.get("_target_")
        raise ConfigError(f"data._target_={target}: its size is not known without loading it; give --steps-per-epoch")
    with within("data"):
        items, _ = split_sizes(available, config.data.get("val_size", "20%"), config.data.get("train_size"))
        if (length := config.data.get("length")) is not None:
            require(is_integer(length) and length >= 1, "length", length, "an integer, at least 1")
            items = windows(items, int(length))
        size = config.data.get("batch_size", 64)
        require(is_integer(size) and size >= 1, "batch_size", size, "an integer, at least 1")
        require(size <= items, "batch_size", size, f"at most the {items} training {known.items}")
    return -(-items // int(size))
