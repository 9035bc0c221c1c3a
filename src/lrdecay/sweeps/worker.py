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
from typing import Any

import cloudpickle
from hydra.core.singleton import Singleton
from hydra.core.utils import run_job, setup_globals

from lrdecay.sweeps.shares import Share


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


def work(messages: Connection, call: bytes, share: Share, draw: bool) -> None:
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
