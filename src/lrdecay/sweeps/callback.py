"""A sweep as Hydra runs it: where it lies, what it says, and the comparison at its end.

Imported at every start of ``train.py``, so nothing heavy is imported here.
"""

import contextlib
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobReturn
from hydra.errors import ConfigCompositionException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from lrdecay.config import hydra_internals
from lrdecay.config.messages import full_errors, lacking_key, one_line
from lrdecay.config.overrides import expand, key_of, varied
from lrdecay.config.rules import check_present
from lrdecay.errors import ConfigError
from lrdecay.records.locks import free, locked
from lrdecay.sweeps.earlier import Earlier
from lrdecay.sweeps.folders import built_from, claim, claim_sweep, is_new_run, job_dir

if TYPE_CHECKING:
    from lrdecay.records.record import Record


class Sweep(Callback):
    """Claims the folder of a run or sweep, announces the jobs of a sweep, and compares them at its end.

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

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Claims a folder for the run; refuses a configuration of which something is missing before it is made."""
        with _exiting():
            check_present(config)
            if is_new_run(config) and not OmegaConf.is_interpolation(config.hydra.run, "dir"):
                return  # hydra.run.dir was given, and is used as it is
            folder = config.hydra.run.dir
            with read_write(config), open_dict(config):
                config.hydra.run.dir = claim(folder) if is_new_run(config) else folder

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Settles for all jobs the sweep's folder and the keys that do not vary, and says what comes."""
        with _exiting():
            self._settle(config)
        print(f"{self.total} job{'s' if self.total != 1 else ''} → {config.hydra.sweep.dir}", flush=True)

    def _settle(self, config: DictConfig) -> None:
        params = config.hydra.sweeper.get("params") or {}
        task = cast(list[str], OmegaConf.to_container(config.hydra.overrides.task, resolve=False))
        arguments = [f"{key}={value}" for key, value in params.items()] + task
        jobs, fixed = expand(arguments, GlobalHydra.instance().config_loader())
        _check_jobs(jobs, fixed, config)
        directory = claim_sweep(config.hydra.sweep.dir, config.get("name"))
        self._lock.enter_context(locked(Path(directory)))
        self._read_earlier(Path(directory))
        quoted = directory.replace("'", r"\'")
        with read_write(config), open_dict(config):
            config.hydra.sweep.dir = directory
            config.hydra.overrides.task += [
                f"hydra.sweep.dir='{quoted}'",
                f"hydra.job.config.override_dirname.exclude_keys=[{','.join(fixed)}]",
            ]
        # Hydra names the folder of a job before any callback of the job is called.
        OmegaConf.register_new_resolver("job_dir", JobFolders(self.earlier), replace=True)
        self.total = len(jobs)
        self.started = time.monotonic()

    def _read_earlier(self, folder: Path) -> None:
        from lrdecay.analysis.groups import load_records
        from lrdecay.records.provenance import code

        if not any(folder.glob("*/record.json")):
            return
        records, problems = load_records([folder])
        for problem in problems:
            print(f"warning: {problem}: that run starts from the beginning", file=sys.stderr)
        self.earlier = Earlier(records)
        others = [record for record in records if record.outcome.status == "completed" and record.plan.code != code()]
        if others:
            runs = f"{len(others)} completed run{'s' if len(others) != 1 else ''}"
            print(f"warning: {folder} has {runs} from a different version of the code; they are kept", file=sys.stderr)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        if not self.total:
            return
        folder = Path(config.hydra.runtime.output_dir).name
        name = job_dir(_root_=config)
        if changed := self.earlier.changed(name, config) if folder not in self.earlier.records else []:
            message = f"{name} already contains a different run, so this one is {folder}: {'; '.join(changed)}"
            print(f"warning: {message}", file=sys.stderr)
        if not self.earlier.settled(folder):
            print(self._title(config), flush=True)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        if not self.total:
            return
        from lrdecay.records.record import write
        from lrdecay.reports.console import result
        from lrdecay.text import format_seconds

        record = self._read_record(Path(config.hydra.runtime.output_dir))
        outcome = f"failed before its record was written: {_returned(job_return)}"
        if record is not None:
            if record.outcome.status == "running" and free(record.directory):  # its process was ended from outside
                record.outcome.status, record.outcome.error = "failed", str(_returned(job_return))
                write(record)
            outcome = (
                result(record)
                if record.outcome.status == "completed"
                else f"{record.outcome.status}: {record.outcome.error}"
            )
            outcome += f" · {record.cut_short}" if record.cut_short else ""
            self.completed += record.outcome.status == "completed"
        before = self.earlier.settled(Path(config.hydra.runtime.output_dir).name)
        self.done += 1
        self.skipped += before
        elapsed = time.monotonic() - self.started
        trained = self.done - self.skipped
        left = format_seconds(elapsed / trained * (self.total - self.done)) if trained else "?"
        time_left = " · already complete" if before else f" · {left} left" if self.done < self.total else ""
        print(f"{self._title(config)}: {outcome}{time_left}", flush=True)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """The comparison."""
        try:
            self._report(Path(config.hydra.sweep.dir))
        except Exception:  # of any kind, or Hydra would make a warning of it; where it was, and then what it leaves
            traceback.print_exc()
            sys.exit("error: the runs are recorded, but comparing them failed")
        if self.completed < self.total:
            sys.exit(f"error: {self.total - self.completed} of {self.total} jobs did not complete")

    def _report(self, directory: Path) -> None:
        from lrdecay.analysis.groups import load_records
        from lrdecay.reports.console import relative
        from lrdecay.reports.report import report

        records, problems = load_records([directory])
        for problem in problems:
            print(problem, file=sys.stderr)
        for record in records:
            if record.outcome.status != "completed":
                print(f"{record.directory.name}: {record.outcome.status}: {record.outcome.error}", file=sys.stderr)
        for file in report(records, directory):
            print(relative(file), flush=True)

    def _title(self, config: DictConfig) -> str:
        fixed = config.hydra.job.config.override_dirname.exclude_keys
        choices = built_from(config)
        label = " ".join(varied(config.hydra.overrides.task, fixed, choices)) or choices["schedule"]
        return f"[{config.hydra.job.num + 1}/{self.total}] {label}"

    @staticmethod
    def _read_record(directory: Path) -> "Record | None":
        from lrdecay.records.record import FILE, RecordError, read

        try:
            return read(directory / FILE)
        except RecordError:
            return None


class JobFolders:
    """The folder of a job within the sweep's: that of an earlier run of the same configuration, or a new one."""

    def __init__(self, earlier: Earlier) -> None:
        self._earlier = earlier

    def __call__(self, *, _root_: DictConfig) -> str:
        return self._earlier.folder(_root_.hydra.job.num, job_dir(_root_=_root_), _root_)

    def __reduce__(self) -> Any:
        """Launchers send everything that is registered to the processes of jobs, which know their folders by then."""
        return _plain_job_dir, ()


def _plain_job_dir() -> Any:
    return job_dir


@contextlib.contextmanager
def _exiting() -> Iterator[None]:
    """Ends the program at an error: Hydra turns exceptions of callbacks into warnings, but lets an exit pass."""
    try:
        yield
    except Exception as error:
        if full_errors():
            traceback.print_exc()
        sys.exit(f"error: {one_line(error)}")


def _returned(job: JobReturn) -> Any:
    """What a job returned or raised."""
    try:
        return job.return_value
    except Exception as error:
        return error


def _check_jobs(jobs: Sequence[Sequence[str]], fixed: Sequence[str], config: DictConfig) -> None:
    """Refuses a sweep of which a job cannot be composed, before anything is made or said.

    Composing takes a tenth of a second, so only one job is tried of each choice in the sweep: the keys of all jobs are
    the same, and which of them a configuration lacks depends on its choices.

    Raises:
        ConfigError: a job lacks a key, or something is missing in its configuration, or jobs contradict each other.
        HydraException: a choice is none.
    """
    if any(word.startswith("resume=") for job in jobs for word in job) and config.resume_mode != "weights":
        raise ConfigError(
            "resume: cannot be combined with -m; a sweep resumes when its command is repeated with the same name=, "
            "and resume_mode=weights starts new runs from the weights of one"
        )
    tuned = sorted({word for job in jobs for word in job if key_of(word) == "process.tune"})
    if len(tuned) > 1 and config.hydra.launcher._target_ == hydra_internals.IN_ONE_PROCESS:
        raise ConfigError(
            f"{' and '.join(tuned)}: must be the same for all runs of one process; "
            "hydra/launcher=parallel gives each a process"
        )
    loader = GlobalHydra.instance().config_loader()
    choices = config.hydra.runtime.choices
    firsts: dict[str, int] = {}
    for number, job in enumerate(jobs):
        for override in job:
            if key_of(override) in choices:
                firsts.setdefault(override, number)
    for number in sorted({0, *firsts.values()}):
        job = list(jobs[number])
        try:
            check_present(loader.load_sweep_config(config, job))
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
