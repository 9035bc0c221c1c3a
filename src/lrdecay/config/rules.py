"""What the values of a configuration must be, as far as no class checks them; without torch."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from lrdecay.config.overrides import FOLDER_NAME, is_folder_name
from lrdecay.data.catalogue import KNOWN, TORCHVISION, data_set, is_own
from lrdecay.errors import ConfigError, is_integer, is_number
from lrdecay.metrics import METRICS, metrics_of
from lrdecay.text import shortened

RESUME_MODES = (None, "extend", "weights")
OF_THE_RUN = ("callbacks", "logger", "default_root_dir")
"""Keys of the trainer that the run sets itself."""
GROUPS = ("schedule", "optimizer", "model", "data", "trainer")
ACCUMULATED = "trainer.accumulate_grad_batches"
SCHEDULABLE = (
    "optimizer.weight_decay",
    "optimizer.momentum",
    "optimizer.beta2",
    "model.dropout",
    "label_smoothing",
    ACCUMULATED,
)
"""What a schedule of its own can be given to, under ``scheduled``."""
REQUIRED = (
    "seed", "name", "metric", "output_dir", "on_divergence", "resume", "resume_mode", "trust", "process.tune",
    "process.threads",
)  # fmt: skip


def check_present(config: DictConfig) -> None:
    """Requires every group and key that a run needs.

    Raises:
        ConfigError: a group or key has been taken out of the configuration.
    """
    plain: Any = OmegaConf.to_container(config, resolve=False)
    for group in GROUPS:
        node = plain.get(group)
        if node is None:
            raise ConfigError(f"{group}: must be one of its choices, which --help lists; ~{group} cannot remove it")
        if not isinstance(node, dict) or "_target_" not in node:
            raise ConfigError(f"{group}: must be a mapping with the _target_ that it is built from")
    for key in REQUIRED:
        parent, _, name = key.rpartition(".")
        if name not in ((plain.get(parent) or {}) if parent else plain):
            raise ConfigError(f"{key}: must be given; ~{key} takes it out")


def scheduled_nodes(config: DictConfig) -> dict[str, DictConfig]:
    """The schedules of other quantities than the rate, not built yet, by the keys of these.

    Raises:
        ConfigError: a key cannot be scheduled, or its value is not a schedule.
    """
    return dict(_nodes(config.get("scheduled") or {}))


def accumulates_by_schedule(config: DictConfig) -> bool:
    """Whether a schedule says how many batches make an optimizer step: the run is counted in batches then."""
    return ACCUMULATED in scheduled_nodes(config)


def _nodes(node: Any, key: str = "") -> Iterator[tuple[str, DictConfig]]:
    """The schedules under ``scheduled``, whose keys may be written with dots or as one mapping in another."""
    if not isinstance(node, Mapping):
        whole = f"scheduled.{key}" if key else "scheduled"
        raise ConfigError(f"{whole}={node}: must hold schedules, of {', '.join(SCHEDULABLE)}")
    for name, child in node.items():
        whole = f"{key}.{name}" if key else str(name)
        if whole in SCHEDULABLE and isinstance(child, DictConfig):
            yield whole, child
        elif any(one.startswith(f"{whole}.") for one in SCHEDULABLE):
            yield from _nodes(child, whole)
        else:
            raise ConfigError(f"scheduled.{whole}: must be one of {', '.join(SCHEDULABLE)}, with a schedule")


def check(config: DictConfig) -> None:
    """Checks the values that no class checks, or that a class would name by another key.

    Raises:
        ConfigError: a value cannot be used.
    """
    for group in GROUPS:
        if config[group] is None:
            raise ConfigError(f"{group}=null: must be one of its choices; `--help` lists them")
    for key, fits, allowed in RULES:
        value = OmegaConf.select(config, key, default=ABSENT)
        if value is not ABSENT and not fits(value):
            raise ConfigError(f"{key}={shortened(value)}: must be {allowed}")
    for key in OF_THE_RUN:
        if config.trainer.get(key) is not None:
            raise ConfigError(f"trainer.{key}: cannot be set; use callbacks=, logger= and output_dir= instead")
    if config.get("resume_mode") is not None and config.resume is None:
        raise ConfigError(f"resume_mode={config.resume_mode}: must be null without resume")
    _check_split(config)
    _check_module(config)


def is_own_module(config: DictConfig) -> bool:
    """Whether somebody's own LightningModule is trained, and not our classifier."""
    return (config.get("module") or {}).get("_target_") is not None


def is_own_optimizer(config: DictConfig) -> bool:
    """Whether the module makes its optimizer itself: ``optimizer=own``."""
    return config.optimizer.get("_target_") is None


def _check_module(config: DictConfig) -> None:
    """Checks what a configuration says of the module, and of what it measures."""
    own, metrics = is_own_module(config), metrics_of(config)
    if config.metric not in metrics.monitored:
        raise ConfigError(f"metric={shortened(config.metric)}: must be one of {', '.join(metrics.monitored)}")
    if metrics is not METRICS and not own:
        raise ConfigError("metrics: must be null without module=, since those of a classifier are known")
    if is_own_optimizer(config) and not own:
        raise ConfigError("optimizer=own: must come with module=, which has one")
    if not own and (others := [key for key in config.get("module") or {} if key != "_target_"]):
        raise ConfigError(f"module.{others[0]}: must come with module._target_, the class that takes it")
    if is_own_optimizer(config) and (others := [key for key in config.optimizer if key != "_target_"]):
        raise ConfigError(f"optimizer.{others[0]}: must be left to the module with optimizer=own")
    if own and config.get("label_smoothing"):
        raise ConfigError(f"label_smoothing={config.label_smoothing}: must be 0 with module=, whose loss is its own")


def _check_split(config: DictConfig) -> None:
    """Refuses other splits of a data set than the one that the experiment's protocol has."""
    data: Any = OmegaConf.to_container(config.data)
    resample = data.get("resample")
    if is_own(data.get("_target_")) and not (resample is None or _is_bool(resample)):
        raise ConfigError(f"data.resample={shortened(resample)}: must be true, false or null")
    name = data_set(data).name
    if resample is True and config.get("fixed_split") == name:
        raise ConfigError(f"data.resample=true: must be null or false with fixed_split={name}, part of the experiment")


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


def _is_of_groups(value: Any) -> bool:
    """Whether it is a list of mappings, such as ``[{match: bias, lr: 0.1}]``; what they say is checked with a model."""
    return isinstance(value, ListConfig) and all(isinstance(rule, DictConfig) for rule in value)


def _is_positive(value: Any) -> bool:
    return is_number(value) and value > 0


def _is_claim(value: Any) -> bool:
    return isinstance(value, DictConfig) and isinstance(value.get("says"), str)


def _is_time(value: Any) -> bool:
    """Whether Lightning takes it as a length of time: days, hours, minutes and seconds, or the words of a timedelta."""
    if isinstance(value, DictConfig):
        return len(value) > 0 and all(name in TIMES and is_number(value[name]) for name in value)
    return isinstance(value, str) and re.fullmatch(r"\d\d:\d\d:\d\d:\d\d", value) is not None


def _is_interval(value: Any) -> bool:
    return (is_integer(value) and value >= 1) or (is_number(value) and 0 < value <= 1) or _is_time(value)


def _shares_memory(strategy: Any) -> bool:
    """Whether its processes are copies of this one, which cannot be made of one with open logs and locks."""
    return isinstance(strategy, str) and strategy.endswith(("spawn", "fork", "notebook"))


def _is_class(value: Any) -> bool:
    return isinstance(value, DictConfig) and "_target_" in value


def _one_of(*allowed: Any) -> tuple[Callable[[Any], bool], str]:
    words = [{None: "null", True: "true", False: "false"}.get(one, one) for one in allowed]
    return lambda value: any(value is one or (isinstance(one, str) and value == one) for one in allowed), (
        f"{', '.join(words[:-1])} or {words[-1]}"
    )


TIMES = ("days", "seconds", "microseconds", "milliseconds", "minutes", "hours", "weeks")
ABSENT = object()
LENGTH = (lambda value: _at_least(1)(value) or value == -1, "an integer, at least 1, or -1 for no limit")
LIMIT = (_or_null(_is_limit), "an integer of at least 0, a fraction in [0, 1], or null")
COUNT = (_or_null(_at_least(1)), "an integer, at least 1, or null")
INTERVAL = "a fraction of an epoch in (0, 1], a number of batches, a time such as 00:00:10:00, or null"
PROFILER = "simple, advanced, pytorch, a class, or null"
TRUTH = (_is_bool, "true or false")
RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("trainer.max_epochs", _or_null(LENGTH[0]), f"{LENGTH[1]}, or null for Lightning's default"),
    ("trainer.max_steps", *LENGTH),
    ("trainer.limit_train_batches", *LIMIT),
    ("trainer.limit_val_batches", *LIMIT),
    ("trainer.limit_test_batches", *LIMIT),
    ("trainer.overfit_batches", *LIMIT),
    ("trainer.limit_predict_batches", *LIMIT),
    ("trainer.min_epochs", *COUNT),
    ("trainer.min_steps", *COUNT),
    ("trainer.num_nodes", _at_least(1), "an integer, at least 1"),
    ("trainer.max_time", _or_null(_is_time), "DD:HH:MM:SS, such as 00:01:30:00, {hours: 1.5}, or null"),
    ("trainer.val_check_interval", _or_null(_is_interval), INTERVAL),
    ("trainer.enable_checkpointing", *_one_of(None, True, False)),
    ("trainer.gradient_clip_algorithm", *_one_of(None, "norm", "value")),
    ("trainer.deterministic", *_one_of(None, True, False, "warn")),
    ("trainer.benchmark", *_one_of(None, True, False)),
    ("trainer.inference_mode", *TRUTH),
    ("trainer.use_distributed_sampler", *TRUTH),
    ("trainer.detect_anomaly", *TRUTH),
    ("trainer.barebones", lambda value: value is False, "false, since a barebones run leaves no record"),
    ("trainer.strategy", lambda value: not _shares_memory(value), "one that starts new processes, such as ddp"),
    ("trainer.sync_batchnorm", *TRUTH),
    ("trainer.enable_autolog_hparams", *TRUTH),
    ("trainer.reload_dataloaders_every_n_epochs", _at_least(0), "an integer, at least 0"),
    ("trainer.profiler", lambda v: v in (None, "simple", "advanced", "pytorch") or _is_class(v), PROFILER),
    ("trainer.plugins", lambda v: v is None or isinstance(v, ListConfig) or _is_class(v), "a list of classes, or null"),
    ("trainer.fast_dev_run", _or_null(lambda v: isinstance(v, int)), "true, false, a number of batches, or null"),
    ("trainer.accumulate_grad_batches", _at_least(1), "an integer, at least 1"),
    ("trainer.gradient_clip_val", _or_null(_is_positive), "a number above 0, or null"),
    ("trainer.log_every_n_steps", _at_least(0), "an integer, at least 0; 0: at the end of each epoch only"),
    ("trainer.check_val_every_n_epoch", _or_null(_at_least(1)), "an integer, at least 1, or null"),
    ("trainer.num_sanity_val_steps", _at_least(-1), "an integer, at least 0, or -1 for all batches"),
    ("trainer.enable_progress_bar", *TRUTH),
    ("trainer.enable_model_summary", *TRUTH),
    ("process.tune", *TRUTH),
    ("process.threads", _or_null(_at_least(1)), "an integer, at least 1, or null for torch's choice"),
    ("process.dense", *_one_of("torch", "onednn")),
    ("optimizer.lr", _is_positive, "a number above 0"),
    ("optimizer.fused", _or_null(_is_bool), "true, false or null"),
    ("optimizer.nesterov", *TRUTH),
    ("optimizer.betas", _are_betas, "two numbers in [0, 1)"),
    ("optimizer.groups", _or_null(_is_of_groups), "a list of {match: …, lr: …, weight_decay: …}, or null"),
    ("seed", lambda value: is_integer(value) and 0 <= value < 2**32, "an integer, at least 0 and below 2³²"),
    ("name", lambda value: value is None or is_folder_name(value), FOLDER_NAME),
    ("label_smoothing", lambda value: is_number(value) and 0 <= value < 1, "a number in [0, 1)"),
    ("on_divergence", lambda value: value in ("stop", "continue"), "stop or continue"),
    ("fixed_split", *_one_of(None, *(known.name for known in (*KNOWN.values(), *TORCHVISION.values())))),
    ("claim", _or_null(_is_claim), "null, or a mapping with what it says"),
    ("resume_mode", lambda value: value in RESUME_MODES, "null, extend or weights"),
    ("trust", *TRUTH),
)
"""Keys, what their values must fit, and that in words; those that are not there are not checked."""
