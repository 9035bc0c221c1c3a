"""Jobs as tasks of a Ray cluster: started, started again where their worker dies, and brought back."""

import contextlib
import io
import os
import shutil
import signal
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle

from lrdecay.config.messages import one_line
from lrdecay.records import locks
from lrdecay.sweeps.launching import Job, draw, ending
from lrdecay.sweeps.shares import Share
from lrdecay.sweeps.worker import Kept, packed, perform

FREES = 60.0
"""Seconds that a process which is thought dead has to let go of its run's folder."""


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
        subdir = str(one.job.folder.relative_to(self._folder))
        call = task.remote(one.job.call, str(Path.cwd()), str(self._folder), subdir, self._token, begun, share)
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


def work(call: bytes, cwd: str, folder: str, subdir: str, token: str, begun: bytes | None, share: Share) -> Outcome:
    """A job, in a worker of a node.

    Args:
        call: for `perform`.
        cwd: where the sweep was started.
        folder: of the sweep.
        subdir: of the run, in it.
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
        own = place / subdir
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
