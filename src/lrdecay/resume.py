"""Going on with a run: its own configuration, what may differ from it, and what of a stranger's is trusted.

Needs no torch, and executes nothing.
"""

import functools
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lrdecay.configuration import RESUME_MODES, check
from lrdecay.errors import ConfigError
from lrdecay.record import FILE, Record, RecordError, determining, read

IF_TRUSTED = "to be trusted only if you know where the run comes from (trust=true, --trust)"
ABOUT_RESUMING = ("resume", "resume_mode", "trust")

# Classes only: nothing else has such a name in these modules.
TORCH_CLASSES = re.compile(r"torch\.optim\.(lr_scheduler\.|swa_utils\.)?[A-Z]\w*")


def resumable(folder: str, mode: str | None, trust: bool) -> Path:
    """The folder of a run that can be resumed.

    Raises:
        ConfigError: it is none, or the mode is not one, or links in it lead to where nothing should be written.
    """
    if mode not in RESUME_MODES:
        raise ConfigError(f"resume_mode={mode}: must be null, extend or weights")
    path = Path(str(folder))
    if not path.is_dir():
        raise ConfigError(f"resume={folder}: no such folder")
    if not os.path.lexists(path / FILE):
        raise ConfigError(f"resume={folder}: no run that got as far as its training: it has no {FILE}")
    links = [] if trust else [file for file in path.rglob("*") if file.is_symlink()]
    if links:
        raise ConfigError(f"{links[0]}: a symbolic link, through which something would be written; {IF_TRUSTED}")
    return path


def own_configuration(
    config: DictConfig, choices: Mapping[str, str], overrides: Sequence[str], conf: Path
) -> tuple[DictConfig, dict[str, str]]:
    """The configuration of the run that is resumed, with what the command line says about it now.

    Args:
        config: as composed from the command line.
        choices: of configuration groups in it.
        overrides: the command line's.
        conf: the folder of the project's own configuration, which is trusted.

    Returns:
        The run's configuration, and its choices.

    Raises:
        ConfigError: the command line contradicts the run, or the run's folder is not trusted.
    """
    mode = config.resume_mode
    record = read_record(resumable(config.resume, mode, config.trust))
    own = composed(record, None if config.trust else conf)
    own_choices = dict(record.choices)
    own.output_dir = config.output_dir
    refused = []
    for key in _named(overrides):
        if key in choices:
            if choices[key] == own_choices.get(key):
                continue
            if key in own and _may_change(f"{key}.*", mode):
                own[key], own_choices[key] = config[key], choices[key]
            else:
                refused.append(f"{key}={choices[key]}, which was {own_choices.get(key)}")
            continue
        new, old = OmegaConf.select(config, key), OmegaConf.select(own, key)
        if new == old:
            continue
        if _may_change(key, mode):
            OmegaConf.update(own, key, new, force_add=True)
        else:
            refused.append(f"{key}={new}, which was {old}")
    if refused:
        raise ConfigError(
            f"resume={config.resume}: goes on as it began, without {'; '.join(refused)}. resume_mode=extend allows "
            "another trainer, such as more trainer.max_epochs; resume_mode=weights begins a new run with its weights"
        )
    if mode == "weights":
        own.resume, own.resume_mode = str(Path(config.resume).absolute()), mode
    check(own)
    if mode == "extend":
        _require_longer(own, record)
    return own, own_choices


def read_record(folder: Path) -> Record:
    """The record of a run.

    Raises:
        ConfigError: there is none that is whole.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder")
    if not os.path.lexists(folder / FILE):
        raise ConfigError(f"{folder}: no folder of a run: it has no {FILE}")
    try:
        return read(folder / FILE)
    except RecordError as error:
        raise ConfigError(str(error)) from error


def composed(record: Record, conf: Path | None) -> DictConfig:
    """The configuration of a run as it was composed, its interpolations not resolved.

    Args:
        record: of the run.
        conf: the folder of the project's own configuration: nothing else is trusted; ``None`` to trust all.

    Raises:
        ConfigError: the record has none, or one that is not trusted.
    """
    if not record.composed:
        raise ConfigError(f"{record.directory}: a run of an older version, which did not keep what is needed")
    try:
        config = OmegaConf.create(record.composed)
    except (OmegaConfBaseException, ValueError) as error:
        raise ConfigError(f"{record.directory}: not a whole configuration") from error
    if conf is not None:
        _require_trusted(record, conf)
        if "download" in config.get("data", {}) and record.composed["data"].get("root") not in _own_strings(conf):
            config.data.download = False  # nothing is written to a folder that somebody else has named
    return config


def differences(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """``key=now, which was earlier`` for each key that differs between two flat configurations."""
    return [
        f"{key}={now.get(key)}, which was {earlier.get(key)}"
        for key in sorted(earlier.keys() | now.keys())
        if json.dumps(earlier.get(key), default=str) != json.dumps(now.get(key), default=str)
    ]


def _require_trusted(record: Record, conf: Path) -> None:
    """Sees to it that a run names only classes, interpolations and places to write to that `conf` does."""
    known = _own_strings(conf)
    for key, value in _leaves(record.composed):
        if not isinstance(value, str) or value in known:
            continue
        name = key.rpartition(".")[2]
        executed = name == "_target_" and not TORCH_CLASSES.fullmatch(value)
        outside = re.search(r"/|\.\.|:", value) and key.startswith(("logger.", "callbacks.", "trainer."))
        if executed or (name != "_target_" and outside) or "${" in value:
            raise ConfigError(f"{record.directory}: {key}={value} is not this project's own; {IF_TRUSTED}")


@functools.cache
def _own_strings(conf: Path) -> frozenset[str]:
    texts = (file.read_text(encoding="utf-8") for file in conf.rglob("*.yaml"))
    leaves = (value for text in texts for _, value in _leaves(yaml.load(text, yaml.CSafeLoader)))
    return frozenset(value for value in leaves if isinstance(value, str))


def _leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for name, item in node.items():
            yield from _leaves(item, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list):
        for number, item in enumerate(node):
            yield from _leaves(item, f"{key}[{number}]")
    else:
        yield key, node


OF_AN_EPOCH = ("trainer.accumulate_grad_batches", "trainer.limit_train_batches", "trainer.overfit_batches")


def _named(overrides: Sequence[str]) -> list[str]:
    keys = [override.lstrip("+~").split("=")[0].split("@")[0] for override in overrides]
    return [key for key in keys if key not in ABOUT_RESUMING]


def _may_change(key: str, mode: str | None) -> bool:
    if mode == "weights" or (mode == "extend" and key.startswith("trainer.") and key not in OF_AN_EPOCH):
        return True
    nested: dict[str, Any] = {}
    for name in reversed(key.split(".")):
        nested = {name: nested or None}
    return not determining(nested)


def _require_longer(config: DictConfig, record: Record) -> None:
    if record.total_steps is None or record.steps_per_epoch is None:
        return
    if record.total_steps % record.steps_per_epoch and record.status == "completed":
        raise ConfigError("resume_mode=extend: must be of a run that trainer.max_steps did not end within an epoch")
    trainer = config.trainer
    lengths = [trainer.max_epochs * record.steps_per_epoch, trainer.max_steps]
    total = min((length for length in lengths if length > 0), default=0)
    if total < record.total_steps + (record.status == "completed"):
        raise ConfigError(
            f"resume_mode=extend: must be longer than the run's {record.total_steps} steps, and "
            f"trainer.max_epochs={trainer.max_epochs} trainer.max_steps={trainer.max_steps} is {total}"
        )
