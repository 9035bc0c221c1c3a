"""Real processes that run the real programs, forked from one that has imported everything: started in a moment.

What a shell would start takes seconds, nearly all of it to import torch, and hundreds are needed here.
"""

import multiprocessing
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PRELOADED = ["forked", "lrdecay.run", "lrdecay.figures", "torch._dynamo", "torch.utils.tensorboard", "sklearn.datasets"]
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "COLUMNS": "160", "LRDECAY_FULL_ERROR": "0"}


@dataclass
class Program:
    """A program that runs, or has run."""

    process: Any
    output: Path

    def wait(self, seconds: float = 120) -> int:
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

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    @property
    def text(self) -> str:
        """What it printed, on stdout and stderr."""
        return self.output.read_text(errors="replace")


def start(script: str, *arguments: object, cwd: Path, prepare: Callable[[], None] | None = None) -> Program:
    """Starts ``python script arguments`` in `cwd`.

    Args:
        script: from the project's folder.
        arguments: of the command line.
        cwd: its working directory.
        prepare: called in it first; must be importable.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    output = cwd / f".output-{time.monotonic_ns()}"
    words = [str(ROOT / script), *map(str, arguments)]
    process = context.Process(target=_run, args=(words, cwd, output, prepare))
    process.start()
    return Program(process, output)


def run(script: str, *arguments: object, cwd: Path, prepare: Callable[[], None] | None = None) -> Program:
    """Runs ``python script arguments`` in `cwd`, whatever it comes to."""
    program = start(script, *arguments, cwd=cwd, prepare=prepare)
    program.wait()
    return program


def _run(words: list[str], cwd: Path, output: Path, prepare: Callable[[], None] | None) -> None:
    os.setsid()
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(cwd)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ |= ENVIRONMENT
    sys.argv = words
    sys.path[:1] = [str(Path(words[0]).parent), str(Path(__file__).parent)]
    import logging

    import torch

    for name in ("pytorch_lightning", "lightning_fabric"):  # imported before logging was set up, they print themselves
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    torch.set_num_threads(1)
    if prepare is not None:
        prepare()
    runpy.run_path(words[0], run_name="__main__")


class KilledIn:
    """Ends the process by SIGKILL when it has half written a file for the n-th time, or just put it in its place."""

    def __init__(self, name: str, time: int, after: bool = False) -> None:
        self.name, self.time, self.after = name, time, after

    def __call__(self) -> None:
        import lrdecay.record

        self.sync, self.replace = os.fsync, Path.replace
        if self.after:
            Path.replace = lambda path, target: (self.replace(path, target), self.count(Path(target).name == self.name))
        else:
            lrdecay.record.os.fsync = self.half_written

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
