"""``hydra/launcher=parallel``: the jobs of a sweep side by side on this machine.

Each job is a process of its own, forked from one that has imported everything but computed nothing. So it starts at
once and leaves nothing behind for the next, and when it is killed the others go on.

Imported at every start of ``train.py``, so nothing heavy is imported here.
"""

import contextlib
import io
import logging
import math
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import cloudpickle
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from lrdecay.config import hydra_internals
from lrdecay.errors import ConfigError, is_integer
from lrdecay.training import progress
from lrdecay.training.stopping import Interrupted, Stop

# What a run imports, at its beginning or later.
IMPORTED_ONCE = [
    "lrdecay.runs.run",
    "lrdecay.reports.figures",
    "torch._dynamo",
    "torch.utils.tensorboard",
    "sklearn.datasets",
]


@dataclass(frozen=True)
class Share:
    """What one of the processes that run at a time has of the machine."""

    threads: int
    gpu: str | None

    @property
    def environment(self) -> dict[str, str]:
        gpu = {} if self.gpu is None else {"CUDA_VISIBLE_DEVICES": self.gpu}
        return {"OMP_NUM_THREADS": str(self.threads), **gpu}


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
            overrides it.) Results are the same to the last bit as in series with so many threads.
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
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        before = HydraConfig.instance().cfg
        running: dict[Any, Job] = {}
        bars = progress.display()
        with Stop().on_signals():
            try:
                results = self._run(list(zip(count(initial_job_idx), job_overrides)), running, bars)
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

    def _run(
        self, waiting: list[tuple[int, Sequence[str]]], running: dict[Any, Job], bars: Any
    ) -> dict[int, JobReturn]:
        free = self._shares()
        results: dict[int, JobReturn] = {}
        while waiting or running:
            while waiting and free:
                job = self._start(*waiting.pop(0), free.pop(0), draw=bars is not None)
                running[job.messages] = job
            for messages in wait(list(running)):
                if _receive(running[messages], bars):
                    continue
                job = running.pop(messages)
                free.append(job.share)
                results[job.number] = self._end(job)
        return results

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
        HydraConfig.instance().set_config(config)  # the folder is named from it
        with read_write(config.hydra), open_dict(config.hydra):
            config.hydra.sweep.subdir = config.hydra.sweep.subdir  # the job's process must not look for it again
            config.hydra.runtime.output_dir = str(Path(config.hydra.sweep.dir, config.hydra.sweep.subdir).absolute())
        HydraConfig.instance().set_config(config)
        self.context.callbacks.on_job_start(config=config, task_function=self.task)
        context = HydraContext(self.context.config_loader, hydra_internals.no_callbacks())
        call = cloudpickle.dumps((Singleton.get_state(), self.task, config, context))
        receiver, sender = multiprocessing.Pipe(duplex=False)
        _start_forkserver()
        process = multiprocessing.get_context("forkserver").Process(target=_work, args=(sender, call, share, draw))
        process.start()
        sender.close()  # so that the pipe ends when the process does
        return Job(number, config, share, process, receiver)

    def _end(self, job: Job) -> JobReturn:
        HydraConfig.instance().set_config(job.config)
        self.context.callbacks.on_job_end(config=job.config, job_return=job.result)
        if job.result.status == JobStatus.COMPLETED:
            return job.result
        # The sweep goes on, as it does after an exception, and tells at its end.
        return JobReturn(status=JobStatus.COMPLETED, _return_value=math.nan)


def _start_forkserver() -> None:
    """Starts the process that jobs are forked from, unless it runs. Ctrl-C is not for it."""
    multiprocessing.forkserver.set_forkserver_preload(IMPORTED_ONCE)
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, handler)


def visible_gpus() -> list[str]:
    """The GPUs that CUDA programs may use, without starting CUDA in this process."""
    if (named := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [gpu for gpu in named.split(",") if gpu.strip() not in ("", "-1")]
    return [str(number) for number, _ in enumerate(Path("/dev").glob("nvidia[0-9]*"))]


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shares(processes: int, threads: int | None, gpus: Sequence[str]) -> list[Share]:
    """What each of the processes gets that run at a time.

    However few jobs there are, so that a job has the same threads, and the same result, in every sweep.
    """
    threads = threads or max(cores() // processes, 1)
    return [Share(threads, gpus[number % len(gpus)] if gpus else None) for number in range(processes)]


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


class _Sender:
    """A job's end of the pipe, for all its threads."""

    def __init__(self, messages: Connection) -> None:
        self._messages = messages
        self._lock = threading.Lock()

    def send(self, kind: str, content: Any) -> None:
        # If nobody listens any more, the launcher is gone, and the job is told so by a signal.
        with self._lock, contextlib.suppress(OSError):
            self._messages.send((kind, content))


class _Text(io.TextIOBase):
    """stdout or stderr of a job: its whole lines are sent to where the progress is drawn."""

    def __init__(self, sender: _Sender, kind: str) -> None:
        self._sender, self._kind, self._line = sender, kind, ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        whole, newline, self._line = (self._line + text).rpartition("\n")
        if newline:
            self._sender.send(self._kind, whole + newline)
        return len(text)

    def flush(self) -> None:
        """Sends the line so far; a process does so at its end."""
        if self._line:
            self._sender.send(self._kind, self._line)
            self._line = ""


class _Drawn(_Text):
    """stdout of a job whose progress is drawn too; see `lrdecay.training.progress.display`."""

    def progress(self, values: dict[str, Any]) -> None:
        self._sender.send("progress", values)


def _work(messages: Connection, call: bytes, share: Share, draw: bool) -> None:
    """A job, in its process."""
    # Ctrl-C reaches the launcher, which passes it on once.
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_end_with_launcher, daemon=True).start()
    sender = _Sender(messages)
    sender.send("ready", None)
    sys.stdout, sys.stderr = _Drawn(sender, "stdout") if draw else _Text(sender, "stdout"), _Text(sender, "stderr")
    for name in ("pytorch_lightning", "lightning_fabric"):
        # They were imported before logging was set up, and print on their own then.
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    import torch

    os.environ |= share.environment
    torch.set_num_threads(share.threads)
    state, task, config, context = cloudpickle.loads(call)
    setup_globals()
    Singleton.set_state(state)
    result = run_job(task, config, "hydra.sweep.dir", "hydra.sweep.subdir", context)
    sender.send("result", cloudpickle.dumps(result))


def _end_with_launcher() -> None:
    launcher = multiprocessing.parent_process()
    assert launcher is not None
    launcher.join()
    os.kill(os.getpid(), signal.SIGINT)
