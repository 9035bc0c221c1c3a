"""The process of a job: what it is told and sends comes and goes through a pipe."""

import contextlib
import io
import logging
import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import cloudpickle
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, run_job, setup_globals

from lrdecay.sweeps.folders import set_sweep_folder
from lrdecay.sweeps.shares import Share


class _Takes(Protocol):
    def send(self, kind: str, content: Any) -> None:
        """Takes what is to be told."""


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

    def __init__(self, sender: _Takes, kind: str) -> None:
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


class Kept:
    """Keeps what is printed while it lasts, as ``texts``: stdout or stderr, and the text."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []

    def send(self, kind: str, content: str) -> None:
        self.texts.append((kind, content))

    def __enter__(self) -> "Kept":
        self._before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = _Text(self, "stdout"), _Text(self, "stderr")
        return self

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = self._before


def work(messages: Connection, call: bytes, share: Share, draw: bool) -> None:
    """A job, in its process."""
    # Ctrl-C reaches the launcher, which passes it on once.
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_end_with_launcher, daemon=True).start()
    sender = _Sender(messages)
    sender.send("ready", None)
    sys.stdout, sys.stderr = _Drawn(sender, "stdout") if draw else _Text(sender, "stdout"), _Text(sender, "stderr")
    os.environ |= share.environment
    sender.send("result", packed(perform(call, share.threads)))


def perform(call: bytes, threads: int, folder: Path | None = None) -> JobReturn:
    """Runs a job in this process.

    Args:
        call: the pickled state of Hydra, task, configuration, context and command line.
        threads: CPU threads of the job.
        folder: of the sweep, where it is another one than the configuration says.
    """
    for name in ("pytorch_lightning", "lightning_fabric"):
        # They were imported before logging was set up, and print on their own then.
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    import torch

    torch.set_num_threads(threads)
    state, task, config, context, sys.argv = cloudpickle.loads(call)
    setup_globals()
    Singleton.set_state(state)
    if folder is not None:
        set_sweep_folder(config, folder)
    return run_job(task, config, "hydra.sweep.dir", "hydra.sweep.subdir", context)


def packed(result: JobReturn) -> bytes:
    """What a job returned, pickled without its configuration, a megabyte that the launcher has."""
    result.cfg = result.hydra_cfg = None
    return bytes(cloudpickle.dumps(result))


def _end_with_launcher() -> None:
    launcher = multiprocessing.parent_process()
    assert launcher is not None
    launcher.join()
    os.kill(os.getpid(), signal.SIGINT)
