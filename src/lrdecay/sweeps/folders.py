"""Where runs and sweeps lie, and what their folders are named: functions that ``conf/`` calls while Hydra resolves it.

They only name folders. Making them is up to `claim`, which the callback calls when a launch begins, and never where the
configuration is only shown. Imported at every start of ``train.py``, so nothing heavy is imported here.
"""

import itertools
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from lrdecay.config import resolvers
from lrdecay.config.overrides import FOLDER_NAME, is_folder_name, job_name, names
from lrdecay.errors import ConfigError
from lrdecay.records.locks import rank


def claim(path: str) -> str:
    """Makes the folder, or the first of ``path-2``, ``path-3``, … that does not exist yet, and names it.

    Making it is what claims it, so that two launches in the same second get two folders.

    Raises:
        ConfigError: it cannot be made.
    """
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


def is_new_run(config: DictConfig) -> bool:
    """Whether the run gets a folder of its own, rather than that of the run that it resumes."""
    return config.get("resume") is None or config.get("resume_mode") == "weights"


def run_dir(now: str, *, _root_: DictConfig) -> str:
    """The folder of the run that is resumed, or a new one, named by the time and the schedule.

    Raises:
        ConfigError: there is no such run.
    """
    if is_new_run(_root_):
        return f"{_parent(_root_)}/runs/{now}_{built_from(_root_)['schedule']}"
    from lrdecay.runs.resume import resumable

    return str(resumable(_root_.resume, _root_.get("resume_mode"), _root_.trust))


def hydra_dir(*, _root_: DictConfig) -> str | None:
    """Where Hydra writes the configuration; nowhere in the folder of a run that is resumed, which has its own."""
    return ".hydra" if is_new_run(_root_) else None


def _parent(config: DictConfig) -> str:
    """The folder of runs and sweeps; ``--cfg hydra`` resolves without the keys that are not Hydra's."""
    return str(config.get("output_dir", "outputs"))


def sweep_folder(now: str, *, _root_: DictConfig) -> str:
    """The folder of the sweep: by its name, or else by its time.

    Raises:
        ConfigError: the name is not that of a folder, or TensorBoard could not show it.
    """
    name = _root_.get("name")
    if name is not None and not is_folder_name(name):
        raise ConfigError(f"name={name}: must be {FOLDER_NAME}")
    return f"{_parent(_root_)}/sweeps/{now if name is None else name}"


def claim_sweep(path: str, name: str | None) -> str:
    """The folder of a sweep with a name, which resumes if there is one, or a folder of its own for this launch.

    Raises:
        ConfigError: it cannot be made.
    """
    if name is None:
        return claim(path)
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"name={name}: {path} cannot be made: {error.strerror}") from error
    return path


def set_sweep_folder(config: DictConfig, folder: Path | str) -> None:
    """Has the jobs of a sweep lie in this folder."""
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.sweep.dir = str(folder)


def built_from(config: DictConfig) -> dict[str, str]:
    """What each configuration group is built from, of a configuration with ``hydra``; of a run that it resumes, its.

    Raises:
        ConfigError: there is no such run.
    """
    built = names(config, config.hydra.runtime.choices)
    if config.get("resume") is None:
        return built
    from lrdecay.runs.resume import choices_of_resumed

    return built | choices_of_resumed(config, built, config.hydra)


def job_dir(*, _root_: DictConfig) -> str:
    """The folder of a job within its sweep's, by its number and what varies; `Earlier` sees to other runs there."""
    job = _root_.hydra.job
    if OmegaConf.is_missing(job, "num"):  # where it is only shown
        return "<number>_<what varied>"
    fixed = job.config.override_dirname.exclude_keys
    return job_name(job.num, _root_.hydra.overrides.task, fixed, built_from(_root_))


def sweep_name() -> str | None:
    """The name of the sweep that a run is a job of; ``None`` of a run alone."""
    hydra = HydraConfig.get()
    return Path(hydra.sweep.dir).name if hydra.mode == RunMode.MULTIRUN else None


def run_name() -> str:
    """The name of a run's folder."""
    return Path(HydraConfig.get().runtime.output_dir).name


def register_resolvers() -> None:
    """The functions that ``conf/`` calls, and those that users may."""
    resolvers.register_resolvers()
    for function in (run_dir, hydra_dir, sweep_folder, job_dir, sweep_name, run_name):
        resolvers.register(function.__name__, function)
