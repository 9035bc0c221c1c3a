"""A sweep as Hydra runs it: where it lies, what it says, and the comparison at its end.

Imported at every start of ``train.py``, so nothing heavy is imported here.
"""

import contextlib
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobReturn
from hydra.errors import ConfigCompositionException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from lrdecay.earlier import EARLIER, Earlier
from lrdecay.errors import ConfigError
from lrdecay.locks import free, locked
from lrdecay.messages import lacking_key, one_line
from lrdecay.overrides import expand, job_name, key_of, varied
from lrdecay.resolvers import built_from

if TYPE_CHECKING:
    from lrdecay.record import Record


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

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuses a configuration of which something is missing, before a folder is made for the run."""
        from lrdecay.rules import check_present

        try:
            check_present(config)
        except ConfigError as error:
            sys.exit(f"error: {error}")

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
                "resume: cannot be combined with -m; a sweep resumes when its command is repeated with the same name=, "
                "and resume_mode=weights starts new runs from the weights of one"
            )
        _check_jobs(jobs, fixed, config)
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
            print(f"warning: {problem}: that run starts from the beginning", file=sys.stderr)
        self.earlier = EARLIER[str(folder)] = Earlier(records)
        others = [record for record in records if record.status == "completed" and record.code != code()]
        if others:
            runs = f"{len(others)} completed run{'s' if len(others) != 1 else ''}"
            print(f"warning: {folder} has {runs} of other code than today's; they are kept", file=sys.stderr)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        if not self.total:
            return
        folder = Path(config.hydra.runtime.output_dir).name
        fixed = config.hydra.job.config.override_dirname.exclude_keys
        name = job_name(config.hydra.job.num, config.hydra.overrides.task, fixed, built_from(config))
        if changed := self.earlier.changed(name, config) if folder not in self.earlier.records else []:
            message = f"{name} has another run, so this is {folder}: {'; '.join(changed)}"
            print(f"warning: {message}", file=sys.stderr)
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
            outcome += f" · {record.cut_short}" if record.cut_short else ""
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
        choices = built_from(config)
        label = " ".join(varied(config.hydra.overrides.task, fixed, choices)) or choices["schedule"]
        return f"[{config.hydra.job.num + 1}/{self.total}] {label}"

    @staticmethod
    def _read_record(directory: Path) -> "Record | None":
        from lrdecay.record import FILE, RecordError, read

        try:
            return read(directory / FILE)
        except RecordError:
            return None


def _check_jobs(jobs: Sequence[Sequence[str]], fixed: Sequence[str], config: DictConfig) -> None:
    """Refuses a sweep of which a job cannot be composed, before anything is made or said.

    Composing takes a tenth of a second, so only one job is tried of each choice in the sweep: the keys of all jobs are
    the same, and which of them a configuration lacks depends on its choices.

    Raises:
        ConfigError: a job lacks a key, or something is missing in its configuration.
        HydraException: a choice is none.
    """
    from lrdecay.rules import check_present

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
