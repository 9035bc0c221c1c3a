"""``-m``: all combinations of the values that the command line lists, and the comparison at their end.

Imported at every start of ``train.py``, so nothing heavy is imported here.
"""

import sys
import traceback
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from lrdecay.config import hydra_internals
from lrdecay.config.overrides import expand, key_of, override
from lrdecay.errors import ConfigError, require_integer
from lrdecay.records.locks import locked, rank
from lrdecay.sweeps.folders import claim_sweep, set_sweep_folder

if TYPE_CHECKING:
    from lrdecay.config.variants import Variants
    from lrdecay.records.record import Record
    from lrdecay.sweeps.earlier import Earlier
    from lrdecay.sweeps.plan import Job

RAY = "hydra_plugins.lrdecay.RayLauncher"
"""The launcher whose jobs follow one another in the processes of its workers."""
AS_MEANT = ("completed", "pruned")
"""Statuses of runs that did what they were launched for."""


@runtime_checkable
class NumberedLauncher(Protocol):
    """A launcher that takes jobs whose numbers have gaps."""

    def launch_numbered(self, jobs: Sequence[tuple[int, Sequence[str]]]) -> Any:
        """Runs jobs, given with their numbers."""


class Source(Protocol):
    """Jobs that come one after the other, the next perhaps only when others have ended."""

    def next(self) -> tuple[int, Sequence[str]] | None:
        """The number and overrides of a job to be started now; ``None`` where there is none, or none yet."""

    def ended(self, number: int) -> None:
        """Says that a job has ended, however it did."""


@runtime_checkable
class StreamingLauncher(Protocol):
    """A launcher that asks for the next job as soon as it has a place for it."""

    def launch_from(self, jobs: Source) -> Any:
        """Runs jobs until none is left and all have ended."""


class Grid(Sweeper):
    """Runs the jobs that are not complete yet, and compares all of them.

    A job that fails does not stop the others, but the exit status says so.

    Args:
        params: values of the sweep beside those on the command line, by key, as it would have them.
        max_batch_size: jobs that a launcher is given at a time; ``None`` for all.

    Raises:
        ConfigError: a value cannot be used.
    """

    def __init__(self, params: Mapping[str, Any] | None = None, max_batch_size: int | None = None) -> None:
        require_integer("hydra.sweeper.max_batch_size", max_batch_size, optional=True)
        self.params = params or {}
        self.max_batch_size = max_batch_size

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.task, self.of_the_sweep = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> None:
        """Runs what is missing, and writes the comparison; ends the program with status 1 if a job did not complete.

        Raises:
            ConfigError: a job cannot be composed, and nothing was made or said.
        """
        from lrdecay.config.variants import Variants
        from lrdecay.sweeps.earlier import Earlier
        from lrdecay.sweeps.plan import plan

        config, loader = self.of_the_sweep, self.context.config_loader
        given = [f"{key}={value}" for key, value in self.params.items()]
        combinations, fixed = expand([*given, *arguments], loader)
        _check(combinations, config)
        variants = Variants(loader)
        jobs = plan(variants, config, combinations, fixed)
        folder = Path(claim_sweep(config.hydra.sweep.dir, config.get("name")))
        with locked(folder):
            earlier = Earlier(read_earlier(folder))
            if kept := _as_before(jobs, earlier):
                print(f"{' '.join(kept)}, as in the runs that are there", flush=True)
                jobs = plan(variants, config, [[*job, *kept] for job in combinations], [*fixed, *map(key_of, kept)])
            earlier.assign(jobs)
            set_sweep_folder(config, folder)
            waited = self._launch(jobs, earlier, variants)
            if waited and rank() == 0:  # of several processes of one job, as Slurm starts them, the first one tells
                end(self._compare(jobs, folder), len(jobs))

    def _launch(self, jobs: "Sequence[Job]", earlier: "Earlier", variants: "Variants") -> bool:
        """Launches what is not complete; whether the launcher has waited for it."""
        from lrdecay.sweeps.announcements import Announcements

        waiting = [job for job in jobs if not earlier.settled(job.folder)]
        by_number = {job.number: job for job in jobs}
        announcements = Announcements(by_number, len(jobs), len(waiting), self.context.callbacks)
        print(f"{len(jobs)} job{'s' if len(jobs) != 1 else ''} → {self.of_the_sweep.hydra.sweep.dir}", flush=True)
        for job in jobs:
            if earlier.settled(job.folder):
                earlier.records[job.folder].redeclare(job.metrics)
                announcements.complete(job, earlier.records[job.folder])
            elif job.folder not in earlier.records and (changed := earlier.changed(job)):
                new = f"{job.name} already contains a different run, so this one is {job.folder}"
                print(f"warning: {new}: {'; '.join(changed)}", file=sys.stderr)
        if not waiting:
            return True
        context = HydraContext(variants, cast(Any, announcements))
        launcher = Plugins.instance().instantiate_launcher(context, self.task, self.of_the_sweep)
        folder = override("hydra.sweep.dir", self.of_the_sweep.hydra.sweep.dir)
        numbered = [(job.number, [*job.overrides, folder, *job.naming]) for job in waiting]
        size = self.max_batch_size or len(numbered)
        for first in range(0, len(numbered), size):
            launch(launcher, numbered[first : first + size])
        return getattr(launcher, "waits", True)

    def _compare(self, jobs: "Sequence[Job]", folder: Path, others: bool = True) -> int:
        """Compares the runs of a folder, with those of others or without; how many of the jobs did not complete."""
        from lrdecay.analysis.groups import load_records
        from lrdecay.reports.console import relative
        from lrdecay.reports.report import report

        records, problems = load_records([folder])
        for problem in problems:
            print(problem, file=sys.stderr)
        own = {job.folder for job in jobs}
        records = [record for record in records if others or record.directory.name in own]
        for record in records:
            if record.outcome.status not in AS_MEANT:
                print(f"{record.directory.name}: {record.outcome.status}: {record.outcome.error}", file=sys.stderr)
        try:
            files = report(records, folder)
        except ConfigError as error:
            sys.exit(f"error: the runs are recorded, but not compared: {error}")
        except Exception:  # of any kind: where it was, and then what it leaves
            traceback.print_exc()
            sys.exit("error: the runs are recorded, but comparing them failed")
        for file in files:
            print(relative(file), flush=True)
        ended = {record.directory.name for record in records if record.outcome.status in AS_MEANT}
        return sum(job.folder not in ended for job in jobs)


def end(failed: int, jobs: int) -> None:
    """Ends the program with status 1 if a job did not complete."""
    if failed:
        sys.exit(f"error: {failed} of {jobs} jobs did not complete")


def launch(launcher: Launcher, jobs: Sequence[tuple[int, Sequence[str]]]) -> None:
    """Launches jobs under their own numbers, which have gaps where jobs are complete: Hydra counts from the first."""
    if isinstance(launcher, NumberedLauncher):
        launcher.launch_numbered(jobs)
        return
    for _, following in groupby(enumerate(jobs), key=lambda pair: pair[1][0] - pair[0]):
        numbers, overrides = zip(*(job for _, job in following), strict=True)
        launcher.launch(list(overrides), initial_job_idx=numbers[0])


def _as_before(jobs: "Sequence[Job]", earlier: "Earlier") -> list[str]:
    """The overrides with which jobs do as the earlier runs did, in what follows from the machine or the version."""
    given = {key_of(word) for word in jobs[0].overrides}
    kept = []
    dense = earlier.dense  # what computes dense layers
    if dense is not None and any(job.settings.get("process.dense", "torch") != dense for job in jobs):
        kept.append(override("process.dense", dense))
    drawn = [job for job in jobs if "data.resample" in job.settings]
    if drawn and all(earlier.undealt(job.settings["data"]) for job in drawn):
        kept.append("data.resample=false")
    return [word for word in kept if key_of(word) not in given]


def check_resumption(words: Sequence[str], config: DictConfig) -> None:
    """Refuses jobs that resume a run, other than from its weights.

    Args:
        words: all overrides of all jobs.
        config: of the sweep.

    Raises:
        ConfigError: they do.
    """
    runs, modes = (
        {word.partition("=")[2] for word in words if key_of(word) == key} or {config.get(key)}
        for key in ("resume", "resume_mode")
    )
    if runs - {None, "null"} and modes != {"weights"}:
        raise ConfigError(
            "resume: cannot be combined with -m; a sweep resumes when its command is repeated with the same name=, "
            "and resume_mode=weights starts new runs from the weights of one"
        )


def _check(jobs: Sequence[Sequence[str]], config: DictConfig) -> None:
    """Refuses jobs that cannot be those of one sweep.

    Raises:
        ConfigError: they resume a run, or contradict each other.
    """
    check_resumption([word for job in jobs for word in job], config)
    tuned = sorted({word for job in jobs for word in job if key_of(word) == "process.tune"})
    if len(tuned) > 1 and config.hydra.launcher._target_ in (hydra_internals.IN_ONE_PROCESS, RAY):
        raise ConfigError(
            f"{' and '.join(tuned)}: must be the same for all runs of one process; "
            "hydra/launcher=parallel gives each a process"
        )


def read_earlier(folder: Path) -> "list[Record]":
    """The runs that are there, with a warning for what cannot be used of them or is not of today's code."""
    from lrdecay.analysis.groups import load_records
    from lrdecay.records.provenance import code

    if not any(folder.glob("*/record.json")):
        return []
    records, problems = load_records([folder])
    for problem in problems:
        print(f"warning: {problem}: that run starts from the beginning", file=sys.stderr)
    others = [record for record in records if record.outcome.status == "completed" and record.plan.code != code()]
    if others:
        runs = f"{len(others)} completed run{'s' if len(others) != 1 else ''}"
        print(f"warning: {folder} has {runs} from a different version of the code; they are kept", file=sys.stderr)
    return records
