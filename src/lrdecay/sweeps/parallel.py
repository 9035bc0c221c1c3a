"""``hydra/launcher=parallel``: the jobs of a sweep side by side on this machine.

Each job is a process of its own, forked from one that has imported everything but computed nothing. So it starts at
once and leaves nothing behind for the next, and when it is killed the others continue.

Imported at every start of ``train.py``, so nothing heavy is imported here.
"""

import contextlib
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

import cloudpickle
from hydra.core.utils import JobStatus
from omegaconf import OmegaConf

from lrdecay.errors import ConfigError, require_integer
from lrdecay.machine import cores, visible_gpus
from lrdecay.sweeps.launching import Job, JobLauncher, ending
from lrdecay.sweeps.shares import Share, shares
from lrdecay.sweeps.worker import work


class ParallelLauncher(JobLauncher):
    """Runs as many jobs at a time as there are GPUs, or cores where there are none; each has one device.

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
        require_integer("hydra.launcher.processes", processes, optional=True)
        require_integer("hydra.launcher.threads", threads, optional=True)
        if gpus is not None and (isinstance(gpus, str | int) or not gpus):
            raise ConfigError(f"hydra.launcher.gpus={gpus}: must be a list such as [0,1], or null")
        if "forkserver" not in multiprocessing.get_all_start_methods():
            raise ConfigError(f"hydra/launcher=parallel: not available on {sys.platform}; use hydra/launcher=basic")
        self.processes = processes
        self.threads = threads
        self.gpus = None if gpus is None else [str(gpu) for gpu in gpus]

    @contextlib.contextmanager
    def pool(self, bars: Any) -> "Iterator[Processes]":
        """Processes of this machine."""
        yield Processes(self._shares(), bars)

    def _shares(self) -> list[Share]:
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


@dataclass
class _Running:
    job: Job
    share: Share
    process: Any
    messages: Connection
    ready: bool = False
    """Whether it takes signals."""


class Processes:
    """Jobs in processes of this machine; a `Pool`.

    Args:
        free: shares of the machine, of which each job takes one while it runs.
        bars: where their progress is drawn.
    """

    def __init__(self, free: list[Share], bars: Any) -> None:
        self._free, self._bars = free, bars
        self._running: dict[Connection, _Running] = {}

    def has_room(self) -> bool:
        return bool(self._free)

    def start(self, job: Job) -> None:
        share = self._free.pop(0)
        receiver, sender = multiprocessing.Pipe(duplex=False)
        _start_forkserver()
        drawn = self._bars is not None
        process = multiprocessing.get_context("forkserver").Process(target=work, args=(sender, job.call, share, drawn))
        process.start()
        sender.close()  # so that the pipe ends when the process does
        self._running[receiver] = _Running(job, share, process, receiver)

    def running(self) -> list[Job]:
        return [one.job for one in self._running.values()]

    def ended(self) -> list[Job]:
        over = []
        for messages in wait(list(self._running), timeout=1.0):
            assert isinstance(messages, Connection)
            if not _receive(self._running[messages], self._bars):
                one = self._running.pop(messages)
                self._free.append(one.share)
                over.append(one.job)
        return over

    def interrupt(self, error: BaseException) -> None:
        for one in self._running.values():
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(one.process.pid, signal.SIGINT if one.ready else signal.SIGKILL)

    def kill(self) -> None:
        for one in self._running.values():
            one.process.kill()


def _start_forkserver() -> None:
    """Starts the process that jobs are forked from, unless it runs. Ctrl-C is not for it."""
    multiprocessing.forkserver.set_forkserver_preload(["lrdecay.sweeps.preloaded"])
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, handler)


def _receive(one: _Running, bars: Any) -> bool:
    """Takes in a message of a job; whether there may be more."""
    job = one.job
    try:
        kind, content = one.messages.recv()
    except (EOFError, OSError):
        one.process.join()
        one.messages.close()
        if job.result.status == JobStatus.UNKNOWN:
            job.fail(ending(one.process.exitcode))
        if bars is not None:
            bars.remove(job.number)
        return False
    if kind == "ready":
        one.ready = True
    elif kind == "result":
        job.result = cloudpickle.loads(content)
    elif kind in ("stdout", "stderr"):
        print(content, end="", file=getattr(sys, kind), flush=True)
    elif bars is not None:
        bars.update(job.number, **content | {"description": f"[{job.number + 1}] {content['description']}"})
    return True
