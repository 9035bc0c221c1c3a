"""What the jobs of a sweep are, worked out for all of them before the first is launched."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import InterpolationResolutionError

from lrdecay.config.messages import lacking_key
from lrdecay.config.overrides import key_of, names, override, varied
from lrdecay.config.rules import check_present
from lrdecay.config.variants import Variants
from lrdecay.data.catalogue import AUTO, KNOWN, data_set
from lrdecay.errors import ConfigError
from lrdecay.records.identity import determining, flatten, has_effect
from lrdecay.runs.resume import trained_configuration


@dataclass
class Job:
    """A job of a sweep.

    Attributes:
        number: its place among all jobs, from 0.
        overrides: those of the command line, with one value for each key.
        fixed: the keys that do not vary among the jobs.
        label: what varies.
        name: of its folder within the sweep's, as long as no other run has that.
        settings: what determines its result, by key.
        metrics: what is said of its metrics, which does not.
        folder: the name that its folder does have; `Earlier.assign` finds it.
    """

    number: int
    overrides: list[str]
    fixed: Sequence[str]
    label: str
    name: str
    settings: dict[str, Any]
    metrics: Any = None
    folder: str = ""

    @property
    def naming(self) -> list[str]:
        """Overrides for the name of its folder."""
        return [*_without(self.fixed), override("hydra.sweep.subdir", self.folder)]


def plan(
    variants: Variants, config: DictConfig, jobs: Sequence[Sequence[str]], fixed: Sequence[str], first: int = 0
) -> list[Job]:
    """The jobs.

    Args:
        variants: composes their configurations.
        config: of the sweep, with ``hydra``.
        jobs: the overrides of each.
        fixed: the keys that do not vary among them.
        first: the number of the first of them.

    Raises:
        ConfigError: a job lacks a key, or something is missing in its configuration.
        HydraException: a choice does not exist.
    """
    planned = []
    with _hydra_config_kept():
        for number, overrides in enumerate(jobs, first):
            with _told_for(overrides, number, jobs, fixed, config.hydra.runtime.choices):
                own = variants.shared(config, [*overrides, *_without(fixed)])
                check_present(own)
            with read_write(own), open_dict(own):
                own.hydra.job.num, own.hydra.job.id = number, str(number)
            plain: Any = OmegaConf.to_container(own, resolve=False)
            if uses_hydra := own.get("resume") is not None or _uses_hydra(plain):
                HydraConfig.instance().set_config(own)  # which copies it
            choices = names(own, own.hydra.runtime.choices)
            trained, chosen = trained_configuration(own, choices, own.hydra)
            choices |= chosen
            if trained is not own:
                plain = OmegaConf.to_container(trained, resolve=False)
            label = " ".join(varied(overrides, fixed, choices)) or choices["schedule"]
            name = str(own.hydra.sweep.subdir)
            settings = settings_of(trained, plain)
            planned.append(Job(number, list(overrides), fixed, label, name, settings, plain.get("metrics")))
            if uses_hydra:
                OmegaConf.set_readonly(own.hydra, False)  # as before `set_config`: the next job's is derived from it
    return planned


def _without(fixed: Sequence[str]) -> list[str]:
    """The override that leaves keys which do not vary out of the names of folders."""
    return [f"hydra.job.config.override_dirname.exclude_keys=[{','.join(fixed)}]"]


def settings_of(config: DictConfig, plain: Mapping[str, Any]) -> dict[str, Any]:
    """What determines the result of a job, resolved; what cannot be is left as it is, for the job to fail at.

    Args:
        config: of the job.
        plain: the same as plain values, its interpolations as text.
    """
    values = {key: value for key, value in flatten(plain).items() if _counts(key)}
    for key, value in values.items():
        if "${" in str(value):
            with contextlib.suppress(InterpolationResolutionError):
                value = OmegaConf.select(config, key)
            values[key] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    data = data_meant(config, None)
    return determining(values | {"data": {"_target_": _target(plain)}}, data) | {"data": data}


def _uses_hydra(plain: Mapping[str, Any]) -> bool:
    """Whether a value that counts, or the folder's name, is taken from the job's ``hydra``; those of loggers do not."""
    counted = {key: value for key, value in plain.items() if key not in ("hydra", "logger")}
    return "${hydra:" in f"{counted} {plain['hydra']['sweep']['subdir']}"


def _counts(key: str) -> bool:
    return not key.startswith(("hydra.", "logger.")) and has_effect(key)


def data_meant(config: Mapping[str, Any], used: str | None) -> str:
    """The data set that a configuration means: its name or, where only the class knows that, the class."""
    target, node = _target(config), config.get("data")
    if target is None:
        return ""  # the run will say what is wrong with it
    if target not in KNOWN and target != AUTO:
        return target
    return used or data_set(OmegaConf.create(node)).name


def _target(config: Mapping[str, Any]) -> str | None:
    data = config.get("data")
    return str(data["_target_"]) if isinstance(data, Mapping | DictConfig) and data.get("_target_") else None


@contextmanager
def _hydra_config_kept() -> Iterator[None]:
    """``${hydra:…}`` means another job's while it lasts."""
    before = HydraConfig.instance().cfg
    try:
        yield
    finally:
        HydraConfig.instance().cfg = before


@contextmanager
def _told_for(
    job: Sequence[str], number: int, jobs: Sequence[Sequence[str]], fixed: Sequence[str], choices: DictConfig
) -> Iterator[None]:
    """Says of a key that only some of the jobs lack which choice is to blame."""
    try:
        yield
    except ConfigCompositionException as error:
        if (key := lacking_key(error)) is None or len(jobs) == 1:
            raise
        group = key.partition(".")[0]
        given = [override for override in job if override.startswith(f"{group}=")]
        choice = (given or [f"{group}={choices[group]}" if group in choices else "this configuration"])[-1]
        shown = " ".join(override for override in job if key_of(override) not in fixed)
        raise ConfigError(
            f"{key}: no such key with {choice} (job {number + 1} of {len(jobs)}: {shown}); "
            "sweep choices that have different keys in sweeps of their own"
        ) from error
