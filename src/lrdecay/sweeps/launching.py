"""What launchers have in common whose jobs run in other processes: jobs come from a source, and end one by one.

Imported at every start of ``train.py``, so nothing heavy is imported here.
"""

import contextlib
import math
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import cloudpickle
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write

from lrdecay.config import hydra_internals
from lrdecay.sweeps.grid import Source
from lrdecay.training import progress
from lrdecay.training.stopping import Interrupted, Stop

ENDS = 60.0
"""Seconds that jobs have to leave a checkpoint when they are interrupted."""


@dataclass
class Job:
    """A job that runs, or will.

    Attributes:
        number: its place among all jobs, from 0.
        config: of the job, with ``hydra``.
        call: what `lrdecay.sweeps.worker.perform` is given.
        result: what it returned or, until then, one of unknown status.
    """

    number: int
    config: DictConfig
    call: bytes
    result: JobReturn = field(default_factory=JobReturn)

    @property
    def folder(self) -> Path:
        return Path(self.config.hydra.runtime.output_dir)

    def fail(self, why: str) -> None:
        """Says that it ended without a result."""
        self.result = JobReturn(status=JobStatus.FAILED, _return_value=RuntimeError(why))


class Pool(Protocol):
    """Where jobs run."""

    def has_room(self) -> bool:
        """Whether one more can be started now."""

    def start(self, job: Job) -> None:
        """Starts a job."""

    def running(self) -> Sequence[Job]:
        """Those that have been started and have not ended."""

    def ended(self) -> Sequence[Job]:
        """Waits for a second at most, and gives the jobs that have ended, with their results."""

    def interrupt(self, error: BaseException) -> None:
        """Asks all jobs to leave a checkpoint and end."""

    def kill(self) -> None:
        """Ends all jobs at once."""


class JobLauncher(Launcher):
    """Has jobs run in other processes; a subclass says where.

    Hydra's callbacks are called in the process that launches, those of one job among those of others.
    """

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.task, self.config = hydra_context, task_function, config

    def pool(self, bars: Any) -> contextlib.AbstractContextManager[Pool]:
        """Where jobs run, while they do.

        Args:
            bars: of `lrdecay.training.progress`; ``None`` where nobody would see them.
        """
        raise NotImplementedError

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs the jobs, and gives what they returned in their order."""
        return self.launch_numbered(list(zip(count(initial_job_idx), job_overrides)))

    def launch_numbered(self, jobs: Sequence[tuple[int, Sequence[str]]]) -> Sequence[JobReturn]:
        """Runs jobs that are given with their numbers, and gives what they returned in their order."""
        return self.launch_from(_Listed(list(jobs)))

    def launch_from(self, jobs: Source) -> Sequence[JobReturn]:
        """Runs jobs as they come, and gives what they returned in the order of their numbers."""
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        before, stop = HydraConfig.instance().cfg, Stop()
        with stop.on_signals(), _drawn() as bars, self.pool(bars) as pool:
            stop.listen()  # Ray has set handlers of its own
            try:
                with stop.at_a_step():
                    results = self._run(jobs, pool, stop)
            except BaseException as error:
                _interrupt(pool, error)
                if isinstance(error, Interrupted):
                    raise SystemExit(error.status) from None
                raise
            finally:
                HydraConfig.instance().cfg = before
        return [results[number] for number in sorted(results)]

    def _run(self, jobs: Source, pool: Pool, stop: Stop) -> dict[int, JobReturn]:
        results: dict[int, JobReturn] = {}
        while True:
            while pool.has_room() and (given := jobs.next()) is not None:
                pool.start(self._composed(*given))
                stop.obey()
            if not pool.running():
                return results
            for job in pool.ended():
                results[job.number] = self._end(job)
                jobs.ended(job.number)
            stop.obey()

    def _composed(self, number: int, overrides: Sequence[str]) -> Job:
        config = self.context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        with read_write(config.hydra), open_dict(config.hydra):
            config.hydra.runtime.output_dir = str(Path(config.hydra.sweep.dir, config.hydra.sweep.subdir).absolute())
        HydraConfig.instance().set_config(config)
        self.context.callbacks.on_job_start(config=config, task_function=self.task)
        context = HydraContext(self.context.config_loader, hydra_internals.no_callbacks())
        call = (Singleton.get_state(), self.task, config, context, sys.argv)
        return Job(number, config, cloudpickle.dumps(call))

    def _end(self, job: Job) -> JobReturn:
        HydraConfig.instance().set_config(job.config)
        self.context.callbacks.on_job_end(config=job.config, job_return=job.result)
        if job.result.status == JobStatus.COMPLETED:
            return job.result
        # The sweep continues, as it does after an exception, and tells at its end.
        return JobReturn(status=JobStatus.COMPLETED, _return_value=math.nan)


class _Listed:
    """Jobs that are all known."""

    def __init__(self, jobs: list[tuple[int, Sequence[str]]]) -> None:
        self._jobs = jobs

    def next(self) -> tuple[int, Sequence[str]] | None:
        return self._jobs.pop(0) if self._jobs else None

    def ended(self, number: int) -> None:
        """Nobody waits for it."""


def _interrupt(pool: Pool, error: BaseException) -> None:
    """Lets the jobs record that they were interrupted; at a second Ctrl-C, not even that."""
    stop, deadline = Stop(), time.monotonic() + ENDS
    try:
        with stop.on_signals(), stop.at_a_step():
            pool.interrupt(error)
            while pool.running() and time.monotonic() < deadline:
                pool.ended()
                stop.obey()
    except Interrupted:
        pass
    if pool.running():
        pool.kill()


@contextlib.contextmanager
def _drawn() -> Iterator[Any]:
    bars = progress.display()
    try:
        yield bars
    finally:
        if bars is not None:
            bars.stop()


def draw(bars: Any, jobs: Sequence[Job]) -> None:
    """Draws how far jobs are, going by their records, where these can be seen."""
    from lrdecay.sweeps.announcements import record_in

    for job in jobs:
        record = record_in(job.folder)
        if record is None or record.outcome.status != "running":
            continue
        epochs, plan = len(record.progress.epochs), record.plan
        if plan.total_steps is None or plan.steps_per_epoch is None:
            continue  # not before its first step
        total = math.ceil(plan.total_steps / plan.steps_per_epoch)
        status = ""
        if epochs:
            metric = plan.config.get("metric", record.metrics.monitored[0])
            status = f"{metric} {record.metrics[metric].text(record.progress.epochs[-1].get(metric))}"
        description = f"[{job.number + 1}] epoch {min(epochs + 1, total)}/{total}"
        steps = record.progress.steps or 0
        bars.update(job.number, description=description, completed=steps, total=plan.total_steps, status=status)


def ending(status: int) -> str:
    """How a process ended."""
    if status >= 0:
        return f"ended with status {status}"
    known = {item.value: item.name for item in signal.Signals}
    return f"killed by {known.get(-status, f'signal {-status}')}"
