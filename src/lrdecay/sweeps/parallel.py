"""``hydra/launcher=parallel``: the jobs of a sweep side by side on this machine.

Each job is a process of its own, forked from one that has imported everything but computed nothing. So it starts at
once and leaves nothing behind for the next, and when it is killed the others continue.

Imported at every start of ``train.py``, so nothing heavy is imported here.
"""

import contextlib
import math
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import cloudpickle
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from lrdecay.config import hydra_internals
from lrdecay.errors import ConfigError, is_integer
from lrdecay.machine import cores, visible_gpus
from lrdecay.sweeps.grid import Source
from lrdecay.sweeps.shares import Share, shares
from lrdecay.sweeps.worker import work
from lrdecay.training import progress
from lrdecay.training.stopping import Interrupted, Stop


@dataclass
class Job:
    """A job that runs."""

    number: int
    config: DictConfig
    share: Share
    process: Any
    messages: Connection
    ready: bool = False
    """Whether it takes signals."""
    result: JobReturn = field(default_factory=JobReturn)


class ParallelLauncher(Launcher):
    """Runs as many jobs at a time as there are GPUs, or cores where there are none; each has one device.

    Hydra's callbacks are called in the process that launches, those of one job among those of others.

    Args:
        processes: jobs at a time; ``None`` for one on each GPU or core.
        threads: CPU threads of each; ``None`` for an equal share of the cores. (``process.threads`` of a job
            overrides it.) Results are the same to the last bit as in series with as many threads.
        gpus: their numbers, dealt out in turn; ``None`` for all of NVIDIA's that can be seen.

    Raises:
        ConfigError: a value cannot be used, or the system cannot fork.
    """

    def __init__(
        self, processes: int | None = None, threads: int | None = None, gpus: Sequence[int | str] | None = None
    ) -> None:
        for key, value in (("processes", processes), ("threads", threads)):
            if value is not None and not (is_integer(value) and value >= 1):
                raise ConfigError(f"hydra.launcher.{key}={value}: must be an integer, at least 1, or null")
        if gpus is not None and (isinstance(gpus, str | int) or not gpus):
            raise ConfigError(f"hydra.launcher.gpus={gpus}: must be a list such as [0,1], or null")
        if "forkserver" not in multiprocessing.get_all_start_methods():
            raise ConfigError(f"hydra/launcher=parallel: must be basic on {sys.platform}, which cannot fork a process")
        self.processes = processes
        self.threads = threads
        self.gpus = None if gpus is None else [str(gpu) for gpu in gpus]

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.task, self.config = hydra_context, task_function, config

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
        before = HydraConfig.instance().cfg
        running: dict[Any, Job] = {}
        bars = progress.display()
        with Stop().on_signals():
            try:
                results = self._run(jobs, running, bars)
            except BaseException as error:
                _interrupt(list(running.values()))
                if isinstance(error, Interrupted):
                    raise SystemExit(error.status) from None
                raise
            finally:
                HydraConfig.instance().cfg = before
                if bars is not None:
                    bars.stop()
        return [results[number] for number in sorted(results)]

    def _run(self, jobs: Source, running: dict[Any, Job], bars: Any) -> dict[int, JobReturn]:
        free = self._shares()
        results: dict[int, JobReturn] = {}
        while True:
            while free and (given := jobs.next()) is not None:
                job = self._start(*given, free.pop(0), draw=bars is not None)
                running[job.messages] = job
            if not running:
                return results
            for messages in wait(list(running)):
                if _receive(running[messages], bars):
                    continue
                job = running.pop(messages)
                free.append(job.share)
                results[job.number] = self._end(job)
                jobs.ended(job.number)

    def _shares(self) -> list["Share"]:
        trainer = OmegaConf.select(self.config, "trainer") or {}
        devices = trainer.get("devices", 1)
        if devices != 1:
            raise ConfigError(
                f"trainer.devices={devices}: must be 1 with hydra/launcher=parallel, which gives each job one"
            )
        accelerator = trainer.get("accelerator", "auto")
        gpus = [] if accelerator == "cpu" else (visible_gpus() if self.gpus is None else self.gpus)
        # An accelerator that was not found here can still be there, and is not for many.
        at_a_time = self.processes or len(gpus) or (cores() if accelerator in ("cpu", "auto") else 1)
        return shares(at_a_time, self.threads, gpus)

    def _start(self, number: int, overrides: Sequence[str], share: Share, draw: bool) -> Job:
        config = self.context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        with read_write(config.hydra), open_dict(config.hydra):
            config.hydra.runtime.output_dir = str(Path(config.hydra.sweep.dir, config.hydra.sweep.subdir).absolute())
        HydraConfig.instance().set_config(config)
        self.context.callbacks.on_job_start(config=config, task_function=self.task)
        context = HydraContext(self.context.config_loader, hydra_internals.no_callbacks())
        call = cloudpickle.dumps((Singleton.get_state(), self.task, config, context))
        receiver, sender = multiprocessing.Pipe(duplex=False)
        _start_forkserver()
        process = multiprocessing.get_context("forkserver").Process(target=work, args=(sender, call, share, draw))
        process.start()
        sender.close()  # so that the pipe ends when the process does
        return Job(number, config, share, process, receiver)

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


def _start_forkserver() -> None:
    """Starts the process that jobs are forked from, unless it runs. Ctrl-C is not for it."""
    multiprocessing.forkserver.set_forkserver_preload(["lrdecay.sweeps.preloaded"])
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, handler)


def _receive(job: Job, bars: Any) -> bool:
    """Takes in a message of a job; whether there may be more."""
    try:
        kind, content = job.messages.recv()
    except (EOFError, OSError):
        job.process.join()
        job.messages.close()
        if job.result.status == JobStatus.UNKNOWN:
            job.result.status = JobStatus.FAILED
            job.result.return_value = RuntimeError(_ending(job.process.exitcode))
        if bars is not None:
            bars.remove(job.number)
        return False
    if kind == "ready":
        job.ready = True
    elif kind == "result":
        job.result = cloudpickle.loads(content)
    elif kind in ("stdout", "stderr"):
        print(content, end="", file=getattr(sys, kind), flush=True)
    elif bars is not None:
        bars.update(job.number, **content | {"description": f"[{job.number + 1}] {content['description']}"})
    return True


def _ending(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    known = {item.value: item.name for item in signal.Signals}
    return f"killed by {known.get(-status, f'signal {-status}')}"


def _interrupt(jobs: Sequence[Job]) -> None:
    """Lets the jobs record that they were interrupted; at a second Ctrl-C, not even that."""
    try:
        for job in jobs:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(job.process.pid, signal.SIGINT if job.ready else signal.SIGKILL)
        for job in jobs:
            while _receive(job, None):
                pass
    except Interrupted:
        for job in jobs:
            job.process.kill()
