"""Resuming a run: its own configuration, and what may differ from it. Needs no torch, and executes nothing."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lrdecay.config.horizon import length_of, trained_steps
from lrdecay.config.resolvers import register_resolvers
from lrdecay.config.rules import RESUME_MODES
from lrdecay.errors import ConfigError, is_integer
from lrdecay.records.identity import has_effect
from lrdecay.records.record import FILE, Record, RecordError, read
from lrdecay.runs.trust import IF_TRUSTED, require_trusted, without_downloads
from lrdecay.schedules.durations import is_timed

ABOUT_RESUMING = ("resume", "resume_mode", "trust")


def resumable(folder: str, mode: str | None, trust: bool) -> Path:
    """The folder of a run that can be resumed.

    Raises:
        ConfigError: there is no run in it, the mode does not exist, or links lead to where nothing may be written.
    """
    if mode not in RESUME_MODES:
        raise ConfigError(f"resume_mode={mode}: must be null, extend or weights")
    path = Path(str(folder))
    if not path.is_dir():
        raise ConfigError(f"resume={folder}: no such folder")
    if not os.path.lexists(path / FILE):
        raise ConfigError(f"resume={folder}: no run got as far as training there: it has no {FILE}")
    if links := [] if trust else _links_out_of(path):
        raise ConfigError(f"{links[0]}: a symbolic link, through which something would be written; {IF_TRUSTED}")
    return path


def _links_out_of(folder: Path) -> list[Path]:
    """The symbolic links in a folder that lead out of it, through which something would be written.

    Nothing is written into what Weights & Biases has made for an earlier attempt, whose logs are links into its cache.
    """
    whole, over = os.path.realpath(folder), set(folder.glob("wandb/*run-*/logs/*"))
    links = [file for file in folder.rglob("*") if file.is_symlink() and file not in over]
    return [link for link in links if not Path(os.path.realpath(link)).is_relative_to(whole)]


def trained_configuration(
    config: DictConfig, choices: Mapping[str, str], job: Any
) -> tuple[DictConfig, dict[str, str]]:
    """The configuration that a command trains, that of the run that it resumes, if any, and its choices.

    Args:
        config: as composed from the command line.
        choices: of configuration groups in it.
        job: its ``hydra``.

    Raises:
        ConfigError: the run cannot be resumed in this way.
    """
    choices = {group: name for group, name in choices.items() if "/" not in group}
    if config.resume is None:
        return config, choices
    record = _resumed(config)
    own = _own_configuration(config, record, choices, job)
    return own, _chosen(record, choices, job)


def choices_of_resumed(config: DictConfig, choices: Mapping[str, str], job: Any) -> dict[str, str]:
    """The choices of the run that a command resumes, with those that the command line makes anew.

    Args:
        config: as composed from the command line.
        choices: of configuration groups in it.
        job: its ``hydra``.

    Raises:
        ConfigError: there is no such run.
    """
    return _chosen(_resumed(config), choices, job)


def _resumed(config: DictConfig) -> Record:
    return read_record(resumable(config.resume, config.resume_mode, config.trust))


def _chosen(record: Record, choices: Mapping[str, str], job: Any) -> dict[str, str]:
    named = [key.removesuffix("._target_") for key in _named(job)]
    return record.plan.choices | {group: choices[group] for group in named if group in choices}


def _named(job: Any) -> list[str]:
    """The keys that the command line sets, but for those about resuming."""
    words: Any = OmegaConf.to_container(job.overrides.task, resolve=False)
    keys = [word.lstrip("+~").split("=")[0] for word in words]
    return [key for key in keys if key not in ABOUT_RESUMING]


def _own_folders(job: Any) -> list[Path]:
    """The folders of configuration that whoever gave the command trusts: the project's, and that of --config-dir."""
    sources = job.runtime.config_sources
    return [Path(source.path) for source in sources if source.provider in ("main", "command-line")]


def _own_configuration(config: DictConfig, record: Record, choices: Mapping[str, str], job: Any) -> DictConfig:
    """The configuration of the run that is resumed, with what the command line says about it now.

    Values are taken over as they are written: what they refer to may not be known before the run has begun.

    Args:
        config: as composed from the command line.
        record: of the run.
        choices: of configuration groups in the command line's.
        job: its ``hydra``.

    Raises:
        ConfigError: the command line contradicts the run, or the run's folder is not trusted.
    """
    mode = config.resume_mode
    own = composed(record, None if config.trust else _own_folders(job))
    own.output_dir = config.output_dir
    now, before = (OmegaConf.to_container(one, resolve=False) for one in (config, own))
    refused = []
    for word in _named(job):
        group, _, place = word.partition("@")
        key = place or group
        new = _at(now, key)
        if word in choices:
            was = record.plan.choices.get(word)
            if choices[word] == was:
                continue
            if (place or key in own) and _may_change(f"{key}.*", mode):
                OmegaConf.update(own, key, new, merge=False, force_add=True)  # nothing is left of the choice before it
            else:
                refused.append(f"{word}={choices[word]}, which was {was}")
        elif new == _at(before, key):
            continue
        elif _may_change(key, mode):
            OmegaConf.update(own, key, new, force_add=True)
        elif (new := OmegaConf.select(config, key)) != (was := OmegaConf.select(own, key)):
            refused.append(f"{key}={new}, which was {was}")
    if refused:
        raise ConfigError(_refusal(config.resume, mode, refused))
    if mode == "weights":
        own.resume, own.resume_mode = str(Path(config.resume).absolute()), mode
    return own


def _at(values: Any, key: str) -> Any:
    """What a key of plain values has; ``None`` where it is not."""
    for name in key.split("."):
        values = values.get(name) if isinstance(values, dict) else None
    return values


def _refusal(resume: str, mode: str | None, changes: Sequence[str]) -> str:
    if mode == "weights":
        return (
            f"resume={resume}: must be given without {'; '.join(changes)}. The new run has the configuration of that "
            "run, in which keys and choices can be set one by one"
        )
    return (
        f"resume={resume}: must be resumed as it began, without {'; '.join(changes)}. resume_mode=extend allows "
        "another trainer, such as more trainer.max_epochs; resume_mode=weights starts a new run from its weights"
    )


def read_record(folder: Path) -> Record:
    """The record of a run.

    Raises:
        ConfigError: there is no complete one.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder")
    if not os.path.lexists(folder / FILE):
        raise ConfigError(f"{folder}: not the folder of a run: it has no {FILE}")
    try:
        return read(folder / FILE)
    except RecordError as error:
        raise ConfigError(str(error)) from error


def composed(record: Record, conf: Sequence[Path] | None) -> DictConfig:
    """The configuration of a run as it was composed: its interpolations are not resolved, what resolves them is known.

    Args:
        record: of the run.
        conf: folders of configuration: nothing else is trusted; ``None`` to trust all.

    Raises:
        ConfigError: the record has none, or one that is not trusted.
    """
    if not record.plan.composed:
        raise ConfigError(f"{record.directory}: a run of an older version, which did not keep what resuming needs")
    # What computes dense layers stays what it was, also on another machine.
    process = record.plan.composed.get("process") or {}
    values: dict[str, Any] = record.plan.composed | (
        {"process": process | {"dense": record.plan.dense}} if isinstance(process, dict) else {}
    )
    values = _with_its_points(values, record.plan.config)
    if conf is not None:
        require_trusted(record, *conf)
        values = values | {"data": without_downloads(values.get("data"), *conf)}
    register_resolvers()
    try:
        return OmegaConf.create(values)
    except (OmegaConfBaseException, ValueError) as error:
        raise ConfigError(f"{record.directory}: its configuration is incomplete") from error


def _with_its_points(composed: Any, resolved: Any) -> Any:
    """The composed values with the points of tables that the run had, whatever their files have now."""
    if isinstance(composed, Mapping) and isinstance(resolved, Mapping):
        return {key: _with_its_points(value, resolved.get(key)) for key, value in composed.items()}
    return resolved if isinstance(composed, str) and composed.startswith("${points_of:") else composed


def decides_the_end(key: str) -> bool:
    """Whether a key of the configuration says how long a run is and where it runs, which an extension may change."""
    ends = key in ("callbacks.*", "duration") or key.startswith(("trainer.", "callbacks.early_stopping"))
    return ends and not key.startswith(OF_AN_EPOCH)


OF_AN_EPOCH = ("trainer.accumulate_grad_batches", "trainer.limit_train_batches", "trainer.overfit_batches")


def _may_change(key: str, mode: str | None) -> bool:
    if mode == "weights" or (mode == "extend" and decides_the_end(key)):
        return True
    return not has_effect(key)


def require_longer(config: DictConfig, record: Record) -> None:
    """An extension must reach further than the run did.

    Raises:
        ConfigError: it does not.
    """
    if record.plan.total_steps is None or record.plan.steps_per_epoch is None:
        return
    trainer, length = config.trainer, length_of(config, record.plan.seconds_per_step)
    epochs, steps = (-1 if trainer.get(key) is None else trainer[key] for key in ("max_epochs", "max_steps"))
    if not (is_integer(epochs) and is_integer(steps)):
        return  # which is refused when it is built
    if is_timed(length.duration) and record.plan.seconds_per_step is None:
        return  # until it has been measured, which asks again
    trained = trained_steps(trainer, record.plan.steps_per_epoch)
    known = trained is not None or length.duration is not None
    total = length.horizon(trained, record.plan.steps_per_epoch).total_steps if known else 0
    # A run that was cut short may be extended to its own end.
    done = record.plan.total_steps if record.outcome.ended_by is None else record.progress.steps or 0
    if total < done + (record.outcome.status == "completed"):
        given = f"trainer.max_epochs={epochs} trainer.max_steps={steps}"
        given = given if length.duration is None else f"duration={length.duration}"
        raise ConfigError(f"resume_mode=extend: must be longer than the run's {done} steps, and {given} is {total}")
