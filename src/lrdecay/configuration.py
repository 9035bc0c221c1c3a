"""The configuration: composed and built, and the horizon that it means, all without torch."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import InstantiationException
from omegaconf import DictConfig, open_dict, read_write

from lrdecay.catalogue import data_set
from lrdecay.durations import Horizon
from lrdecay.errors import BadValue, ConfigError, is_integer, require, within
from lrdecay.messages import one_line
from lrdecay.overrides import accepted, expand, names, varied
from lrdecay.resolvers import register_resolvers
from lrdecay.rules import check_present
from lrdecay.splits import split_sizes


def compose_all(conf: Path, overrides: Sequence[str], experiments: bool = False) -> list[tuple[str, DictConfig]]:
    """Every configuration that a sweep over these overrides has, with a label of what varies.

    Args:
        conf: the folder of ``config.yaml``.
        overrides: as on the command line of ``train.py -m``.
        experiments: whether the sweep that an experiment carries counts too, but for its seeds.

    Returns:
        (label, configuration) pairs; a single one is labelled by its schedule.

    Raises:
        HydraException: an override is none, or does not fit the configuration.
    """
    register_resolvers()
    configs = []
    with initialize_config_dir(str(conf), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        overrides = accepted(overrides)
        jobs, fixed = expand(overrides, loader)
        if experiments:
            params = compose("config", jobs[0], return_hydra_config=True).hydra.sweeper.params or {}
            own = [f"{key}={value}" for key, value in params.items() if key != "seed"]
            jobs, fixed = expand([*own, *overrides], loader)
        for job in jobs:
            config = compose("config", job, return_hydra_config=True)
            check_present(config)
            choices = names(config, config.hydra.runtime.choices)
            parts = [part.partition("=") for part in varied(job, fixed, choices)]
            label = " ".join(key.split(".")[-1] + equals + value for key, equals, value in parts)
            with read_write(config), open_dict(config):
                del config["hydra"]
            configs.append((label or choices["schedule"], config))
    return configs


def build(node: DictConfig, group: str, **arguments: Any) -> Any:
    """Instantiates the ``_target_`` of a configuration group.

    Raises:
        ConfigError: what it refuses.
    """
    try:
        # Plain lists, not Hydra's: an optimizer's go into checkpoints, which must load without executing anything.
        return hydra.utils.instantiate(node, _convert_="all", **arguments)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, ConfigError):
            raise cause from error
        if isinstance(cause, BadValue):
            raise ConfigError(f"{group}.{cause}") from error
        raise ConfigError(f"{group}: {one_line(cause or error)}") from error


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
    per_epoch = math.ceil(batches / trainer.get("accumulate_grad_batches", 1))
    epochs, steps = (1, fast) if fast else (trainer.get("max_epochs"), trainer.get("max_steps", -1))
    if epochs is None:  # as Lightning has it
        epochs = 1000 if steps == -1 else -1
    ends = [count for count in (epochs * per_epoch, steps) if count > 0]
    if not ends:
        raise ConfigError("trainer.max_epochs=-1: a schedule needs an end; give trainer.max_steps")
    return Horizon(min(ends), per_epoch)


def _batches(config: DictConfig) -> int:
    available = data_set(config.data).training_images
    if available is None:
        target = config.data.get("_target_")
        raise ConfigError(f"data._target_={target}: its size is not known without loading it; give --steps-per-epoch")
    with within("data"):
        images, _ = split_sizes(available, config.data.get("val_size", "20%"), config.data.get("train_size"))
        size = config.data.get("batch_size", 64)
        require(is_integer(size) and size >= 1, "batch_size", size, "an integer, at least 1")
        require(size <= images, "batch_size", size, f"at most the {images} training images")
    return -(-images // size)
