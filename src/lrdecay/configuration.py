"""The configuration: composed, checked and built, and the horizon that it means, all without torch."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import InstantiationException
from omegaconf import DictConfig, open_dict, read_write

from lrdecay.durations import Horizon
from lrdecay.errors import BadValue, ConfigError, is_integer, is_number, require, within
from lrdecay.messages import one_line
from lrdecay.splits import split_sizes
from lrdecay.sweep import expand, register_resolvers, varied

METRICS = ("val/acc", "val/loss")

# Of the data sets that come with the package, by target, before some of them are taken for validation.
TRAINING_IMAGES = {"lrdecay.data.MNIST": 60_000, "lrdecay.data.Digits": 1_438}


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
        jobs, fixed = expand(overrides, loader)
        if experiments:
            params = compose("config", jobs[0], return_hydra_config=True).hydra.sweeper.params or {}
            own = [f"{key}={value}" for key, value in params.items() if key != "seed"]
            jobs, fixed = expand([*own, *overrides], loader)
        for job in jobs:
            config = compose("config", job, return_hydra_config=True)
            choices = config.hydra.runtime.choices
            parts = [part.partition("=") for part in varied(job, fixed, choices)]
            label = " ".join(key.split(".")[-1] + equals + value for key, equals, value in parts)
            with read_write(config), open_dict(config):
                del config["hydra"]
            configs.append((label or choices.schedule, config))
    return configs


def check(config: DictConfig) -> None:
    """Checks the values that no class checks, or that a class would name by another key.

    Raises:
        ConfigError: a value cannot be used.
    """
    for group in ("schedule", "optimizer", "model", "data", "trainer"):
        if config[group] is None:
            raise ConfigError(f"{group}=null: must be one of its choices; `--help` lists them")
    with within("trainer"):
        for key in ("max_epochs", "max_steps"):
            value = config.trainer.get(key, -1)
            allowed = "an integer, at least 1, or -1 for no limit"
            require(is_integer(value) and (value >= 1 or value == -1), key, value, allowed)
        for key in ("limit_train_batches", "overfit_batches"):
            limit = config.trainer.get(key)
            part = is_number(limit) and 0 <= limit <= 1
            allowed = "an integer of at least 0, a part in [0, 1], or null"
            require(limit is None or part or (is_integer(limit) and limit >= 0), key, limit, allowed)
        fast = config.trainer.get("fast_dev_run")
        require(
            fast is None or isinstance(fast, int), "fast_dev_run", fast, "true, false, a number of batches, or null"
        )
        every = config.trainer.get("accumulate_grad_batches", 1)
        require(is_integer(every) and every >= 1, "accumulate_grad_batches", every, "an integer, at least 1")
        clip = config.trainer.get("gradient_clip_val")
        require(clip is None or (is_number(clip) and clip > 0), "gradient_clip_val", clip, "a number above 0, or null")
    with within("process"):
        tune, threads = config.process.tune, config.process.threads
        require(isinstance(tune, bool), "tune", tune, "true or false")
        allowed = "an integer, at least 1, or null for torch's choice"
        require(threads is None or (is_integer(threads) and threads >= 1), "threads", threads, allowed)
    if "lr" in config.optimizer:
        rate = config.optimizer.lr
        with within("optimizer"):
            require(is_number(rate) and rate > 0, "lr", rate, "a number above 0")
    try:
        seed = config.seed
        require(is_integer(seed) and 0 <= seed < 2**32, "seed", seed, "an integer, at least 0 and below 2³²")
        stop = config.get("on_divergence")
        require(stop in ("stop", "continue"), "on_divergence", stop, "stop or continue")
        require(isinstance(config.get("trust"), bool | None), "trust", config.get("trust"), "true or false")
        require(config.metric in METRICS, "metric", config.metric, f"one of {', '.join(METRICS)}")
    except BadValue as error:
        raise ConfigError(str(error)) from error


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
    epochs, steps = (1, fast) if fast else (trainer.max_epochs, trainer.max_steps)
    ends = [count for count in (epochs * per_epoch, steps) if count > 0]
    if not ends:
        raise ConfigError("trainer.max_epochs=-1: a schedule needs an end; give trainer.max_steps")
    return Horizon(min(ends), per_epoch)


def data_name(config: DictConfig) -> str:
    """The class of the data set; ``auto`` is MNIST where it is on disk. (Only a run would try to download it.)"""
    target = config.data.get("_target_")
    if target != "lrdecay.data.auto":
        return str(target)
    there = (Path(config.data.root) / "MNIST/raw/train-images-idx3-ubyte").is_file()
    return "lrdecay.data.MNIST" if there else "lrdecay.data.Digits"


def _batches(config: DictConfig) -> int:
    name = data_name(config)
    if name not in TRAINING_IMAGES:
        raise ConfigError(f"data._target_={name}: its size is not known without loading it; give --steps-per-epoch")
    with within("data"):
        images, _ = split_sizes(TRAINING_IMAGES[name], config.data.val_size, config.data.train_size)
        size = config.data.batch_size
        require(is_integer(size) and size >= 1, "batch_size", size, "an integer, at least 1")
        require(size <= images, "batch_size", size, f"at most the {images} training images")
    return -(-images // size)
