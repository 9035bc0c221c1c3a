"""The real programs in real processes, forked from one that has imported everything: started in a moment.

What a shell would start takes seconds, nearly all of it to import torch, and hundreds are needed here. `fresh` starts
one as a shell does, where that is what is tested.
"""

import contextlib
import multiprocessing
import multiprocessing.util
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.util import spawnv_passfds
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
PRELOADED = [
    "lrdecay.sweeps.preloaded", "support.programs", "lrdecay.runs.evaluation", "lrdecay.reports.report",
    "lrdecay.cli.train", "lrdecay.cli.claims", "lrdecay.training.range_test", "torchvision.datasets",
]  # fmt: skip
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "COLUMNS": "160", "LRDECAY_FULL_ERROR": "0"}
# Nothing listens there, so a download fails at once, whether or not the machine has a network.
NO_NETWORK = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}


@dataclass
class Program:
    """A program that runs, or has run.

    Attributes:
        output: the file with what it prints on stdout; on stderr too, unless that has a file of its own.
        errors: the file with what it prints on stderr.
    """

    process: Any
    output: Path
    errors: Path

    def wait(self, seconds: float = 300) -> int:
        """Its exit status, 128 + the signal where one ended it.

        Raises:
            TimeoutError: it hangs; it is killed then.
        """
        self.process.join(seconds)
        status = self.process.exitcode
        if status is None:
            self.process.kill()
            raise TimeoutError(self.text)
        return status if status >= 0 else 128 - status

    def until(self, condition: Callable[[], object], seconds: float = 120, every: float = 0.02) -> None:
        """Waits until something is so.

        Raises:
            AssertionError: it has ended, or so many seconds are over, and it is not; with what it printed.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            over = time.monotonic() > deadline or not self.process.is_alive()
            assert not over or condition(), self.errors.read_text(errors="replace")
            time.sleep(every)

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    @property
    def returncode(self) -> int:
        """Its exit status, minus the signal where one ended it."""
        return self.process.exitcode

    @property
    def text(self) -> str:
        """What it printed, in the order in which it did."""
        assert self.output == self.errors, "stdout and stderr apart have no order"
        return self.output.read_text(errors="replace")

    @property
    def stdout(self) -> str:
        return self.output.read_text()

    @property
    def stderr(self) -> str:
        return self.errors.read_text()


def start(
    script: str,
    *arguments: object,
    cwd: Path,
    prepare: Callable[[], None] | None = None,
    apart: bool = False,
    **environment: str,
) -> Program:
    """Starts ``python script arguments`` in `cwd`.

    Args:
        script: from the project's folder.
        arguments: of the command line.
        cwd: its working directory.
        prepare: called in it first; must be importable.
        apart: whether stdout and stderr are kept apart.
        environment: variables of its own; ``PYTHONPATH`` counts too.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    output = cwd / f".output-{time.monotonic_ns()}"
    errors = output.with_name(f"{output.name}-errors") if apart else output
    words = [str(ROOT / script), *map(str, arguments)]
    process = context.Process(target=_run, args=(words, cwd, output, errors, prepare, environment))
    process.start()
    return Program(process, output, errors)


def run(script: str, *arguments: object, cwd: Path, **options: Any) -> Program:
    """Runs ``python script arguments`` in `cwd`, whatever it comes to; see `start`."""
    program = start(script, *arguments, cwd=cwd, **options)
    program.wait()
    return program


def run_apart(script: str, *arguments: object, cwd: Path, **environment: str) -> Program:
    """The same with stdout and stderr apart."""
    return run(script, *arguments, cwd=cwd, apart=True, **environment)


def fresh(script: str, *arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs ``python script arguments`` in `cwd` as a shell does; a thread each, as tests run side by side."""
    return subprocess.run(
        [sys.executable, ROOT / script, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | ENVIRONMENT | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def _run(
    words: list[str],
    cwd: Path,
    output: Path,
    errors: Path,
    prepare: Callable[[], None] | None,
    environment: dict[str, str],
) -> None:
    os.setsid()
    for stream, file in ((1, output), (2, errors)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(cwd)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ |= ENVIRONMENT | environment
    sys.argv = words
    paths = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:1] = [str(Path(words[0]).parent), str(Path(__file__).parent.parent), *paths]
    import logging

    import torch

    for name in ("pytorch_lightning", "lightning_fabric"):  # imported before logging was set up, they print themselves
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    torch.set_num_threads(1)
    multiprocessing.util.spawnv_passfds = _forked
    if prepare is not None:
        prepare()
    runpy.run_path(words[0], run_name="__main__")


def _forked(path: str, words: list[str], descriptors: list[int]) -> int:
    """Starts the server of `multiprocessing`'s forkserver forked from this process; all else as ever.

    So what ``hydra/launcher=parallel`` forks its jobs from has everything imported too. A process that is spawned is to
    have nothing of this one.
    """
    if "multiprocessing.forkserver" not in words[-1]:
        return spawnv_passfds(path, words, descriptors)
    if process := os.fork():
        return process
    status = 1
    try:
        for descriptor in [int(link.name) for link in Path("/proc/self/fd").iterdir()]:
            if descriptor > 2 and descriptor not in map(int, descriptors):
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        exec(words[-1], {"__name__": "__main__"})
        status = 0
    finally:
        os._exit(status)


class KilledIn:
    """Ends the process by SIGKILL when it has half written a file for the n-th time, or just put it in its place."""

    def __init__(self, name: str, time: int, after: bool = False) -> None:
        self.name, self.time, self.after = name, time, after

    def __call__(self) -> None:
        import lrdecay.files

        self.sync, self.replace = os.fsync, Path.replace
        if self.after:
            Path.replace = lambda path, target: (self.replace(path, target), self.count(Path(target).name == self.name))
        else:
            lrdecay.files.os.fsync = self.half_written

    def half_written(self, descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        if name.startswith(f".{self.name}-"):
            if self.time == 1:
                os.truncate(descriptor, os.fstat(descriptor).st_size // 2)
            self.count(True)
        self.sync(descriptor)

    def count(self, this: bool) -> None:
        self.time -= this
        if self.time == 0:
            os.kill(os.getpid(), signal.SIGKILL)
