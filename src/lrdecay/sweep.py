"""A sweep as Hydra runs it: where it lies, what it says, and the comparison at its end.

Imported at every start of ``train.py``, so nothing heavy is imported here.
"""

import contextlib
import functools
import itertools
import re
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict, read_write

from lrdecay.earlier import Earlier
from lrdecay.errors import ConfigError
from lrdecay.locks import free, locked
from lrdecay.messages import one_line

if TYPE_CHECKING:
    from lrdecay.record import Record


@functools.cache
def claim(path: str) -> str:
    """Makes the folder, or the first of ``path-2``, ``path-3``, … that is not there yet, and names it.

    Making it is what claims it, so that two launches in the same second get two folders. The same path in one
    process gives the same folder again.

    Raises:
        ConfigError: it cannot be made.
    """
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


def run_dir(resume: str | None, mode: str | None, trust: bool, path: str) -> str:
    """The folder of the run that goes on, or a new one.

    Raises:
        ConfigError: there is no such run, or a new folder cannot be made.
    """
    if resume is None:
        return claim(path)
    from lrdecay.resume import resumable

    folder = resumable(resume, mode, trust)
    return claim(path) if mode == "weights" else str(folder)


def hydra_dir(resume: str | None, mode: str | None) -> str | None:
    """Where Hydra writes the configuration; nowhere in the folder of a run that goes on, which has its own."""
    return ".hydra" if resume is None or mode == "weights" else None


FOLDER_NAME = "letters, digits, spaces and . _ % + - only, no . or space first"


def is_folder_name(name: object) -> bool:
    """Whether TensorBoard can show a folder of that name, and shells and file systems have it without trouble."""
    return re.fullmatch(r"[\w%+-][\w .%+-]*", str(name)) is not None


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
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"name={name}: {folder} cannot be made: {error.strerror}") from error
    return str(folder)


def better(metric: str) -> str:
    """Which values of a metric are better: ``min`` or ``max``."""
    return "min" if metric.endswith("loss") else "max"


def job_dir(
    number: int, overrides: Sequence[str], fixed: Sequence[str], choices: Mapping[str, str], *, _root_: DictConfig
) -> str:
    """The folder of a job within its sweep's: that of an earlier run of the same configuration, or a new one."""
    name = job_name(number, overrides, fixed, choices)
    earlier = _EARLIER.get(_root_.hydra.sweep.dir)
    return earlier.folder(number, name, _root_) if earlier else name


_EARLIER: dict[str, Earlier] = {}
"""Of each sweep's folder."""


def job_name(number: int, overrides: Sequence[str], fixed: Sequence[str], choices: Mapping[str, str]) -> str:
    """``03_step_gamma-0.5_seed-2``: the job's number, from 1, and what varied; no ``=`` or ``/`` for TensorBoard."""
    parts = []
    for part in varied(overrides, fixed, choices) or [choices["schedule"]]:
        key, equals, value = part.partition("=")
        value = re.sub(r"[^\w.%+-]+", "-", value).strip("-")[:60]
        parts.append(f"{key.split('.')[-1]}-{value}" if equals else key)
    return "_".join([f"{number + 1:02}", *parts])


def expand(arguments: Sequence[str], loader: ConfigLoader | None = None) -> tuple[list[list[str]], list[str]]:
    """The jobs of a sweep, each as its overrides, and the keys that do not vary among them.

    Args:
        arguments: overrides, ``key=a,b,c`` among them.
        loader: finds the choices of ``key=glob(…)``.

    Raises:
        HydraException: an argument is no override.
    """
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(arguments))
    (jobs,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    common = set.intersection(*map(set, jobs))
    return [list(job) for job in jobs], sorted({override.lstrip("+~").split("=")[0] for override in common})


def varied(overrides: Sequence[str], fixed: Sequence[str], choices: Mapping[str, str]) -> list[str]:
    """The overrides of keys that vary, the bare choice for those of a configuration group."""
    if isinstance(overrides, ListConfig):
        overrides = cast(list, OmegaConf.to_container(overrides, resolve=False))
    pairs = [(override, *override.lstrip("+~").partition("=")) for override in overrides]
    return [value if key in choices else override for override, key, _, value in pairs if key not in fixed]


def register_resolvers() -> None:
    """The functions that ``conf/`` calls."""
    for function in (claim, run_dir, hydra_dir, sweep_dir, job_dir, better):
        OmegaConf.register_new_resolver(function.__name__, function, replace=True)


class Sweep(Callback):
    """Announces the jobs of a sweep and compares them at its end.

    A job that fails does not stop the others, but the exit status says so.
    """

    def __init__(self) -> None:
        self.total = 0
        self.done = 0
        self.completed = 0
        self.skipped = 0
        self.earlier = Earlier()
        self._lock = contextlib.ExitStack()
        self.started = 0.0

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Settles for all jobs the sweep's folder and the keys that do not vary, and says what comes.

        Hydra turns exceptions of callbacks into warnings, but lets an exit pass.
        """
        try:
            self._settle(config)
        except Exception as error:
            sys.exit(f"error: {one_line(error)}")
        print(f"{self.total} job{'s' if self.total != 1 else ''} → {config.hydra.sweep.dir}", flush=True)

    def _settle(self, config: DictConfig) -> None:
        params = config.hydra.sweeper.get("params") or {}
        task = cast(list, OmegaConf.to_container(config.hydra.overrides.task, resolve=False))
        arguments = [f"{key}={value}" for key, value in params.items()] + task
        jobs, fixed = expand(arguments, GlobalHydra.instance().config_loader())
        if any(word.startswith("resume=") for job in jobs for word in job) and config.resume_mode != "weights":
            raise ConfigError(
                "resume: must be without -m; a sweep goes on when its command is repeated with the same name=, "
                "and resume_mode=weights begins new runs with the weights of one"
            )
        folder = Path(config.hydra.sweep.dir)
        self._lock.enter_context(locked(folder))
        self._read_earlier(folder)
        directory = config.hydra.sweep.dir.replace("'", r"\'")
        with read_write(config), open_dict(config):
            config.hydra.overrides.task += [
                f"hydra.sweep.dir='{directory}'",
                f"hydra.job.config.override_dirname.exclude_keys=[{','.join(fixed)}]",
            ]
        self.total = len(jobs)
        self.started = time.monotonic()

    def _read_earlier(self, folder: Path) -> None:
        from lrdecay.groups import load
        from lrdecay.provenance import code

        if not any(folder.glob("*/record.json")):
            return
        records, problems = load([folder])
        for problem in problems:
            print(f"warning: {problem}: that run starts anew", file=sys.stderr)
        self.earlier = _EARLIER[str(folder)] = Earlier(records)
        others = [record for record in records if record.status == "completed" and record.code != code()]
        if others:
            runs = f"{len(others)} completed run{'s' if len(others) != 1 else ''}"
            print(f"warning: {folder} has {runs} of other code than today's; they are kept", file=sys.stderr)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        if not self.total:
            return
        folder = Path(config.hydra.runtime.output_dir).name
        choices, fixed = config.hydra.runtime.choices, config.hydra.job.config.override_dirname.exclude_keys
        name = job_name(config.hydra.job.num, config.hydra.overrides.task, fixed, choices)
        if changed := self.earlier.changed(name, config) if folder not in self.earlier.records else []:
            print(f"warning: {name} has another run, so this is {folder}: {'; '.join(changed)}", file=sys.stderr)
        if not self.earlier.settled(folder):
            print(self._title(config), flush=True)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        if not self.total:
            return
        from lrdecay.console import format_seconds, result

        record = self._read_record(Path(config.hydra.runtime.output_dir))
        outcome = f"failed before its record was written: {job_return._return_value}"
        if record is not None:
            if record.status == "running" and free(record.directory):  # its process was ended from outside
                record.status, record.error = "failed", str(job_return._return_value)
                record.write()
            outcome = result(record) if record.status == "completed" else f"{record.status}: {record.error}"
            self.completed += record.status == "completed"
        before = self.earlier.settled(Path(config.hydra.runtime.output_dir).name)
        self.done += 1
        self.skipped += before
        elapsed = time.monotonic() - self.started
        trained = self.done - self.skipped
        left = format_seconds(elapsed / trained * (self.total - self.done)) if trained else "?"
        time_left = " · done before" if before else f" · {left} left" if self.done < self.total else ""
        print(f"{self._title(config)}: {outcome}{time_left}", flush=True)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """The comparison."""
        try:
            self._report(Path(config.hydra.sweep.dir))
        except Exception:
            traceback.print_exc()
            sys.exit("error: the runs are recorded, but comparing them failed")
        if self.completed < self.total:
            sys.exit(f"error: {self.total - self.completed} of {self.total} jobs did not complete")

    def _report(self, directory: Path) -> None:
        from lrdecay.console import relative
        from lrdecay.groups import load
        from lrdecay.report import report

        records, problems = load([directory])
        for problem in problems:
            print(problem, file=sys.stderr)
        for record in records:
            if record.status != "completed":
                print(f"{record.directory.name}: {record.status}: {record.error}", file=sys.stderr)
        for file in report(records, directory):
            print(relative(file), flush=True)

    def _title(self, config: DictConfig) -> str:
        fixed = config.hydra.job.config.override_dirname.exclude_keys
        choices = config.hydra.runtime.choices
        label = " ".join(varied(config.hydra.overrides.task, fixed, choices)) or choices["schedule"]
        return f"[{config.hydra.job.num + 1}/{self.total}] {label}"

    @staticmethod
    def _read_record(directory: Path) -> "Record | None":
        from lrdecay.record import FILE, RecordError, read

        try:
            return read(directory / FILE)
        except RecordError:
            return None
