"""The configuration: composed, checked and built, and the horizon that it means, all without torch."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import InstantiationException
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict, read_write

from lrdecay.durations import Horizon
from lrdecay.errors import BadValue, ConfigError, is_integer, is_number, require, shortened, within
from lrdecay.messages import one_line
from lrdecay.splits import split_sizes
from lrdecay.sweep import FOLDER_NAME, expand, is_folder_name, register_resolvers, varied

METRICS = ("val/acc", "val/loss")
RESUME_MODES = (None, "extend", "weights")

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
    for key, fits, allowed in RULES:
        value = OmegaConf.select(config, key, default=ABSENT)
        if value is not ABSENT and not fits(value):
            raise ConfigError(f"{key}={shortened(value)}: must be {allowed}")
    for key in ("callbacks", "logger", "default_root_dir"):
        if key in config.trainer:
            raise ConfigError(f"trainer.{key}: must be left to the run; there is callbacks=, logger= and output_dir=")
    if config.get("resume_mode") is not None and config.resume is None:
        raise ConfigError(f"resume_mode={config.resume_mode}: must be null without resume")


def _at_least(least: float) -> Callable[[Any], bool]:
    return lambda value: is_integer(value) and value >= least


def _or_null(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_limit(value: Any) -> bool:
    return (is_number(value) and 0 <= value <= 1) or (is_integer(value) and value >= 0)


def _are_betas(value: Any) -> bool:
    return (
        isinstance(value, ListConfig) and len(value) == 2 and all(is_number(beta) and 0 <= beta < 1 for beta in value)
    )


def _is_positive(value: Any) -> bool:
    return is_number(value) and value > 0


def _is_claim(value: Any) -> bool:
    return isinstance(value, DictConfig) and isinstance(value.get("says"), str)


ABSENT = object()
LENGTH = (lambda value: _at_least(1)(value) or value == -1, "an integer, at least 1, or -1 for no limit")
LIMIT = (_or_null(_is_limit), "an integer of at least 0, a part in [0, 1], or null")
TRUTH = (_is_bool, "true or false")
RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("trainer.max_epochs", *LENGTH),
    ("trainer.max_steps", *LENGTH),
    ("trainer.limit_train_batches", *LIMIT),
    ("trainer.limit_val_batches", *LIMIT),
    ("trainer.limit_test_batches", *LIMIT),
    ("trainer.overfit_batches", *LIMIT),
    ("trainer.fast_dev_run", _or_null(lambda v: isinstance(v, int)), "true, false, a number of batches, or null"),
    ("trainer.accumulate_grad_batches", _at_least(1), "an integer, at least 1"),
    ("trainer.gradient_clip_val", _or_null(_is_positive), "a number above 0, or null"),
    ("trainer.log_every_n_steps", _at_least(0), "an integer, at least 0, which is the end of an epoch only"),
    ("trainer.check_val_every_n_epoch", _or_null(_at_least(1)), "an integer, at least 1, or null"),
    ("trainer.num_sanity_val_steps", _at_least(-1), "an integer, at least 0, or -1 for all batches"),
    ("trainer.enable_progress_bar", *TRUTH),
    ("trainer.enable_model_summary", *TRUTH),
    ("process.tune", *TRUTH),
    ("process.threads", _or_null(_at_least(1)), "an integer, at least 1, or null for torch's choice"),
    ("optimizer.lr", _is_positive, "a number above 0"),
    ("optimizer.fused", _or_null(_is_bool), "true, false or null"),
    ("optimizer.nesterov", *TRUTH),
    ("optimizer.betas", _are_betas, "two numbers in [0, 1)"),
    ("seed", lambda value: is_integer(value) and 0 <= value < 2**32, "an integer, at least 0 and below 2³²"),
    ("name", lambda value: value is None or is_folder_name(value), FOLDER_NAME),
    ("metric", lambda value: value in METRICS, f"one of {', '.join(METRICS)}"),
    ("on_divergence", lambda value: value in ("stop", "continue"), "stop or continue"),
    ("claim", _or_null(_is_claim), "null, or a mapping with what it says"),
    ("resume_mode", lambda value: value in RESUME_MODES, "null, extend or weights"),
    ("trust", *TRUTH),
)
"""Keys, what their values must fit, and that in words; those that are not there are not checked."""


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
