"""``hydra/launcher=ray``: the jobs of a sweep as tasks of a Ray cluster, this machine's own or one that runs.

A job whose worker or node dies is started again, and resumes from its checkpoint. Nodes that do not see the folder of
the sweep run their jobs in a temporary one, which is brought back when they end: with such a node the checkpoints of
its jobs are lost, and they restart.

Imported at every start of ``train.py``, so nothing heavy is imported here.
"""

import contextlib
import io
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
from omegaconf import OmegaConf

from lrdecay.config.messages import one_line
from lrdecay.errors import ConfigError
from lrdecay.machine import cores
from lrdecay.records import locks
from lrdecay.sweeps.launching import Job, JobLauncher, draw, ending, require_integer
from lrdecay.sweeps.shares import Share, processes_of
from lrdecay.sweeps.worker import Kept, packed, perform

TOKEN = Path("~/.ray/auth_token")
"""Where Ray keeps the token of this user's clusters."""
ANSWERS = 9.0
"""Seconds that a cluster has to answer at all."""
FREES = 60.0
"""Seconds that a process which is thought dead has to let go of its run's folder."""


class RayLauncher(JobLauncher):
    """Runs the jobs as tasks of a Ray cluster, as many at a time as it has room for.

    Args:
        address: of a cluster that runs, ``host:port``, or ``auto`` for one that this machine belongs to; ``None``
            starts one on this machine, for as long as the sweep.
        cpus: CPUs, and threads, of each process of a job. Results are the same to the last bit as in series with as
            many threads.
        gpus: GPUs of each process, or a fraction of one; ``None`` for one where the cluster has any.
        at_a_time: jobs at a time; ``None`` for as many as there is room for.
        retries: how often a job may be started again whose worker or node dies.

    Raises:
        ConfigError: a value cannot be used, or Ray is not installed.
    """

    def __init__(
        self, address: str | None = None, cpus: int = 1, gpus: float | None = None, at_a_time: int | None = None,
        retries: int = 3,
    ) -> None:  # fmt: skip
        require_integer("cpus", cpus)
        require_integer("at_a_time", at_a_time, optional=True)
        require_integer("retries", retries, least=0)
        if gpus is not None and (isinstance(gpus, bool) or not isinstance(gpus, int | float) or gpus < 0):
            raise ConfigError(f"hydra.launcher.gpus={gpus}: must be a number, at least 0, or null")
        if gpus is not None and gpus > 1 and gpus != int(gpus):
            raise ConfigError(f"hydra.launcher.gpus={gpus}: must be a whole number above 1")
        if address not in (None, "auto") and not re.fullmatch(r"[^:/]+:\d+", str(address)):
            raise ConfigError(f"hydra.launcher.address={address}: must be host:port, auto, or null")
        self.address, self.cpus, self.gpus = address, cpus, gpus
        self.at_a_time, self.retries = at_a_time, retries

    @contextlib.contextmanager
    def pool(self, bars: Any) -> "Iterator[Tasks]":
        """Tasks of the cluster, which is connected to, or started, for as long as it lasts."""
        trainer: Any = OmegaConf.select(self.config, "trainer") or {}
        if trainer.get("num_nodes", 1) != 1:
            raise ConfigError(f"trainer.num_nodes={trainer.num_nodes}: must be 1 with hydra/launcher=ray")
        folder = Path(self.config.hydra.sweep.dir).absolute()
        with _connected(self.address) as ray:
            needs = self._needs(ray, trainer)
            with _token(folder) as token:
                yield Tasks(ray, needs, folder, token, self.cpus, self.at_a_time, self.retries, bars)

    def _needs(self, ray: Any, trainer: Any) -> dict[str, float]:
        """What a job takes, by resource.

        Raises:
            ConfigError: no node has as much.
        """
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpus = self.gpus
        if gpus is None:
            there = any(node.get("GPU") for node in nodes)
            gpus = 1 if there and trainer.get("accelerator", "auto") in ("auto", "gpu", "cuda") else 0
        processes = processes_of(trainer)
        needs = {"CPU": float(self.cpus * processes), "GPU": gpus * processes}
        for name, key in (("CPU", "cpus"), ("GPU", "gpus")):
            most = max((node.get(name, 0) for node in nodes), default=0)
            if needs[name] > most:
                each = f" for each of {processes} processes" if processes > 1 else ""
                raise ConfigError(
                    f"hydra.launcher.{key}={needs[name] / processes:g}{each}: must be at most what a node of the "
                    f"cluster has, {most:g}"
                )
        return needs


@dataclass
class _Running:
    job: Job
    deaths: int = 0
    """How often its worker or node has died."""


class Tasks:
    """Jobs as tasks of a Ray cluster; a `Pool`.

    Args:
        ray: the module, connected.
        needs: what a job takes, by resource.
        folder: of the sweep.
        token: name of a file in it, by which a node knows it.
        threads: CPU threads of each.
        at_a_time: jobs at a time at most.
        retries: how often a job may be started again.
        bars: where progress is drawn.
    """

    def __init__(
        self, ray: Any, needs: dict[str, float], folder: Path, token: str, threads: int, at_a_time: int | None,
        retries: int, bars: Any,
    ) -> None:  # fmt: skip
        self._ray, self._needs, self._folder, self._token = ray, needs, folder, token
        self._threads, self._at_a_time, self._retries, self._bars = threads, at_a_time, retries, bars
        self._running: dict[Any, _Running] = {}
        self._counted, self._places = -1.0, 0
        self._interrupted = False

    def has_room(self) -> bool:
        # Without any place a job waits in Ray's queue: nodes may come.
        running = len(self._running)
        return running == 0 or running < min(self._count_places(), self._at_a_time or sys.maxsize)

    def _count_places(self) -> int:
        """How many jobs there is room for; nodes come and go."""
        if time.monotonic() > self._counted + 1:
            self._counted = time.monotonic()
            nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
            needs = {name: amount for name, amount in self._needs.items() if amount}
            self._places = sum(
                min(int(node.get(name, 0) / amount + 1e-9) for name, amount in needs.items()) for node in nodes
            )
        return self._places

    def start(self, job: Job) -> None:
        self._submit(_Running(job))

    def _submit(self, one: _Running) -> None:
        options = {"num_cpus": self._needs["CPU"], "num_gpus": self._needs["GPU"], "max_retries": 0}
        # A copy that came from elsewhere, or one that a node elsewhere is to continue.
        begun = pack(one.job.folder) if (one.job.folder / "record.json").is_file() else None
        task = self._ray.remote(**options)(work)
        share = Share(self._threads, None if self._needs["GPU"] else "")  # which ones, Ray says
        call = task.remote(one.job.call, str(Path.cwd()), str(self._folder), self._token, begun, share)
        self._running[call] = one

    def running(self) -> Sequence[Job]:
        return [one.job for one in self._running.values()]

    def ended(self) -> Sequence[Job]:
        over = []
        done, _ = self._ray.wait(list(self._running), timeout=1.0)
        for call in done:
            one = self._running.pop(call)
            if self._has_ended(call, one):
                over.append(one.job)
                if self._bars is not None:
                    self._bars.remove(one.job.number)
        if self._bars is not None:
            draw(self._bars, self.running())
        return over

    def _has_ended(self, call: Any, one: _Running) -> bool:
        """Takes in what a task returned; whether its job has ended, and was not started again."""
        errors, job = self._ray.exceptions, one.job
        try:
            outcome = self._ray.get(call)
        except errors.TaskCancelledError:
            job.fail("interrupted before it was started")
        except errors.RayTaskError as error:
            job.fail(one_line(error.cause) if error.cause else str(error).strip().splitlines()[-1])
        except errors.RayError as error:  # of its worker, its node, its memory
            one.deaths += 1
            what = f"its worker or node died ({type(error).__name__})"
            if one.deaths <= self._retries and not self._interrupted:
                print(f"[{job.number + 1}] {what}: started again", flush=True)
                self._submit(one)
                return False
            job.fail(f"{what}, {one.deaths} times")
        else:
            try:
                outcome.take_in(job)
            except (OSError, tarfile.TarError) as error:  # a full disk is no reason to end the other jobs
                job.fail(f"it could not be brought back: {one_line(error)}")
        return True

    def interrupt(self, error: BaseException) -> None:
        self._interrupted = True
        for call in self._running:
            self._ray.cancel(call, force=False)

    def kill(self) -> None:
        for call in self._running:
            self._ray.cancel(call, force=True)


@dataclass
class Outcome:
    """What a task gives back: what the job returned, pickled, or how it ended; its words; its folder, packed."""

    result: bytes | None
    ending: str
    said: list[tuple[str, str]]
    folder: bytes | None

    def take_in(self, job: Job) -> None:
        """Says what the job said, puts its folder where it belongs, and its result into it."""
        for kind, text in self.said:
            print(text, end="", file=getattr(sys, kind), flush=True)
        if self.folder is not None:
            unpack(self.folder, job.folder)
        if self.result is None:
            job.fail(self.ending)
        else:
            job.result = cloudpickle.loads(self.result)


def work(call: bytes, cwd: str, folder: str, token: str, begun: bytes | None, share: Share) -> Outcome:
    """A job, in a worker of a node.

    Args:
        call: for `perform`.
        cwd: where the sweep was started.
        folder: of the sweep.
        token: name of a file that is in it, where it is seen.
        begun: the run's folder, packed, if it was begun before.
        share: what it has of the node.
    """
    shared = Path(folder, token).is_file()
    temporary = None if shared else Path(tempfile.mkdtemp(prefix="lrdecay-"))
    place = Path(folder) if temporary is None else temporary / Path(folder).name  # the sweep keeps its name
    place.mkdir(exist_ok=True)
    os.chdir(cwd if shared else place)
    os.environ |= share.environment
    # Ray cancels by the handler of SIGINT; the run sets its own.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Kept() as said, contextlib.ExitStack() as stack:
        if temporary is not None:
            stack.callback(shutil.rmtree, temporary, ignore_errors=True)
        own = place / cloudpickle.loads(call)[2].hydra.sweep.subdir
        if begun is not None and not shared:
            unpack(begun, own)
        _wait_for(own)
        result, how = None, ""
        try:
            result = packed(perform(call, share.threads, place))
        except SystemExit as error:
            how = ending(error.code if isinstance(error.code, int) else 1)
        except KeyboardInterrupt:  # before the run could take it
            how = "interrupted before it was started"
        return Outcome(result, how, said.texts, None if shared else pack(own))


def _wait_for(folder: Path) -> None:
    """Waits for the process of a node that is taken for dead to let go of a run's folder."""
    deadline = time.monotonic() + FREES
    while folder.is_dir() and not locks.free(folder) and time.monotonic() < deadline:
        time.sleep(0.2)


def pack(folder: Path) -> bytes:
    """The files of a folder, as one."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as packed:
        if folder.is_dir():
            packed.add(folder, arcname=".", filter=_to_pack)
    return buffer.getvalue()


def _to_pack(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Not the lock, and no symbolic links: those of Weights & Biases lead into a cache of the node."""
    return None if entry.issym() or entry.name.endswith(locks.FILE) else entry


def unpack(packed: bytes, folder: Path) -> None:
    """Puts the files of `pack` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(packed)) as content:
        content.extractall(folder, filter="data")


@contextlib.contextmanager
def _token(folder: Path) -> Iterator[str]:
    """A file in a folder, while it lasts, by which a node knows that it sees the same folder."""
    token = folder / f".shared-{uuid.uuid4().hex}"
    try:
        token.touch()
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written to: {error.strerror}") from error
    try:
        yield token.name
    finally:
        token.unlink(missing_ok=True)


@contextlib.contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    """Ray, connected to a cluster.

    Raises:
        ConfigError: Ray is not installed, or there is no cluster.
    """
    # Read when Ray is imported: nothing is reported to anybody, and a cluster that was started beside a token has that.
    environment = {"RAY_USAGE_STATS_ENABLED": "0"}
    if address is not None and TOKEN.expanduser().is_file():
        environment["RAY_AUTH_MODE"] = "token"
    os.environ |= {name: value for name, value in environment.items() if name not in os.environ}
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ConfigError('hydra/launcher=ray: needs Ray: pip install -e ".[ray]"') from error
    if address is not None:
        _check_health(address)
    own: dict[str, Any] = {"num_cpus": cores(), "include_dashboard": False} if address is None else {}
    try:
        ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise ConfigError(f"hydra.launcher.address={address}: {str(error).strip().splitlines()[0]}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_health(address: str) -> None:
    """Refuses an address where no cluster answers; Ray itself would try for minutes.

    Raises:
        ConfigError: none does.
    """
    asked = [] if address == "auto" else ["--address", address]
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", *asked]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWERS, check=False)
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"hydra.launcher.address={address}: no Ray cluster answers there") from error
    if done.returncode:
        token = "AuthToken" in done.stdout + done.stderr
        why = "the cluster there wants a token, RAY_AUTH_TOKEN" if token else "no Ray cluster answers there"
        raise ConfigError(f"hydra.launcher.address={address}: {why}")
