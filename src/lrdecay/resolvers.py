"""The functions that ``conf/`` calls while Hydra resolves it: where runs and sweeps lie, and what they are named.

Imported at every start of ``train.py``, so nothing heavy is imported here.
"""

import functools
import itertools
import re
import sys
from pathlib import Path
from typing import Any

from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig, OmegaConf
from omegaconf.resolvers import oc

from lrdecay.earlier import EARLIER
from lrdecay.errors import ConfigError
from lrdecay.locks import rank
from lrdecay.overrides import FOLDER_NAME, is_folder_name, job_name, names


@functools.cache
def claim(path: str) -> str:
    """Makes the folder, or the first of ``path-2``, ``path-3``, … that is not there yet, and names it.

    Making it is what claims it, so that two launches in the same second get two folders. The same path in one
    process gives the same folder again. Where the configuration is only shown, nothing is made.

    Raises:
        ConfigError: it cannot be made.
    """
    if _only_shown():
        return path
    if process := rank():  # of a job of several, which a launcher such as Slurm starts; only the first one has results
        path = str(Path(path).with_name(f".{Path(path).name}_process-{process}"))
    for number in itertools.count(1):
        folder = Path(path if number == 1 else f"{path}-{number}")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise ConfigError(f"output_dir: {folder} cannot be made: {error.strerror}") from error
        return str(folder)
    raise AssertionError("counted to the end")


def _only_shown() -> bool:
    """Whether the command line asks for the configuration, resolved, and not for a run under it."""
    given, _ = get_args_parser().parse_known_args(sys.argv[1:])
    return given.cfg is not None or given.info is not None


def run_dir(now: str, *, _root_: DictConfig) -> str:
    """The folder of the run that is resumed, or a new one, named by the time and the schedule.

    Raises:
        ConfigError: there is no such run, or a new folder cannot be made.
    """
    resume, mode = _root_.get("resume"), _root_.get("resume_mode")
    path = f"{_parent(_root_)}/runs/{now}_{built_from(_root_)['schedule']}"
    if resume is None:
        return claim(path)
    from lrdecay.resume import resumable

    folder = resumable(resume, mode, _root_.trust)
    return claim(path) if mode == "weights" else str(folder)


def hydra_dir(*, _root_: DictConfig) -> str | None:
    """Where Hydra writes the configuration; nowhere in the folder of a run that is resumed, which has its own."""
    return ".hydra" if _root_.get("resume") is None or _root_.get("resume_mode") == "weights" else None


def _parent(config: DictConfig) -> str:
    """The folder of runs and sweeps; ``--cfg hydra`` resolves without the keys that are not Hydra's."""
    return str(config.get("output_dir", "outputs"))


def sweep_folder(now: str, *, _root_: DictConfig) -> str:
    """The folder of the sweep."""
    return sweep_dir(f"{_parent(_root_)}/sweeps", _root_.get("name"), now)


def sweep_dir(parent: str, name: str | None, now: str) -> str:
    """``parent/name``, whose sweep goes on if there is one, or a folder of its own for this launch.

    Raises:
        ConfigError: the name is not that of a folder, or TensorBoard could not show it, or it cannot be made.
    """
    if name is None:
        return claim(f"{parent}/{now}")
    if not is_folder_name(name):
        raise ConfigError(f"name={name}: must be {FOLDER_NAME}")
    folder = Path(parent, str(name))
    if _only_shown():
        return str(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"name={name}: {folder} cannot be made: {error.strerror}") from error
    return str(folder)


def better(metric: str) -> str:
    """Which values of a metric are better: ``min`` or ``max``."""
    return "min" if metric.endswith("loss") else "max"


def built_from(config: DictConfig) -> dict[str, str]:
    """What each configuration group is built from, of a configuration with ``hydra``."""
    return names(config, config.hydra.runtime.choices)


def job_dir(*, _root_: DictConfig) -> str:
    """The folder of a job within its sweep's: that of an earlier run of the same configuration, or a new one."""
    if OmegaConf.is_missing(_root_.hydra.job, "num"):  # where it is only shown
        return "<number>_<what varied>"
    number, overrides = _root_.hydra.job.num, _root_.hydra.overrides.task
    fixed = _root_.hydra.job.config.override_dirname.exclude_keys
    name = job_name(number, overrides, fixed, built_from(_root_))
    earlier = EARLIER.get(_root_.hydra.sweep.dir)
    return earlier.folder(number, name, _root_) if earlier else name


REQUIRED_VARIABLE = object()
TEXTS = ("name", "output_dir", "root", "resume", "project", "experiment_name", "tracking_uri")
"""Keys whose values are text, whatever it looks like."""
NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d{1,3})?")


def env(name: str, default: Any = REQUIRED_VARIABLE, *, _node_: Any) -> Any:
    """``${oc.env:NAME}``: an environment variable, where it is the whole value and written as a number, as that number.

    OmegaConf's is text, which no key takes that needs a number: ``seed=${oc.env:SLURM_ARRAY_TASK_ID}``.
    """
    value: Any = oc.env(name) if default is REQUIRED_VARIABLE else oc.env(name, default)
    whole = re.fullmatch(r"\$\{oc\.env:[^${}]*\}", str(_node_._value())) is not None
    if not (whole and _node_._key() not in TEXTS and isinstance(value, str) and NUMBER.fullmatch(value)):
        return value
    return int(value) if value.lstrip("-").isdigit() else float(value)


def register_resolvers() -> None:
    """The functions that ``conf/`` calls, and those that users may."""
    OmegaConf.register_new_resolver("oc.env", env, replace=True)
    for function in (claim, run_dir, hydra_dir, sweep_folder, job_dir, better):
        OmegaConf.register_new_resolver(function.__name__, function, replace=True)
