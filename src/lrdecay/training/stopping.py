"""Ctrl-C, SIGTERM, and the end of a terminal (SIGHUP): a training stops at its next step, with a checkpoint; everything
else stops at once.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PATIENCE = 8.0
"""Seconds that a training has to reach its next step, before it is stopped within one."""

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Interrupted(BaseException):
    """A signal has asked for the end.

    Attributes:
        status: the one that a shell expects then.
        agreed: whether all processes of the run end at the same step.
    """

    def __init__(self, number: int, agreed: bool = False) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.status = 128 + number
        self.agreed = agreed


class Stop:
    """Whether somebody has asked for the end.

    Attributes:
        requested: the signal that did, and has not been obeyed yet.
    """

    def __init__(self) -> None:
        self.requested: int | None = None
        self._agreed = False
        self._patient = False
        self._before: dict[int, Any] = {}

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Raises `Interrupted` for `SIGNALS` while it lasts. Only the main thread can be asked."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers = {number: signal.getsignal(number) for number in SIGNALS}
        # What is ignored at the start, as Ctrl-C is in the background of a shell, stays ignored.
        self._before = {number: handler for number, handler in handlers.items() if handler != signal.SIG_IGN}
        self.listen()
        try:
            yield
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler or signal.SIG_DFL)
            self._before = {}

    def listen(self) -> None:
        """Takes the signals, also from another handler that has been set since `on_signals`."""
        for number in self._before:
            signal.signal(number, self._receive)

    def ignore(self) -> None:
        """Takes no signals any more, since the end has come."""
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)
        _alarm(None, 0)

    @contextmanager
    def at_a_step(self) -> Iterator[None]:
        """While it lasts, the first signal only leaves a request, for as long as `PATIENCE`."""
        self._patient = True
        try:
            yield
        finally:
            self._patient = False
            _alarm(None, 0)

    def obey(self) -> None:
        """Raises `Interrupted` if it was requested."""
        if self.requested is not None:
            raise Interrupted(self.requested, self._agreed)

    def agree(self, number: int) -> None:
        """Takes a signal for requested that one of the processes of the run has got, as all of them do at this step."""
        self.requested, self._agreed = number, True

    def _receive(self, number: int, frame: Any) -> None:
        if self._patient and self.requested is None:
            self.requested = number
            _alarm(lambda *_: self.obey(), PATIENCE)
            return
        raise Interrupted(number)


def _alarm(handler: Any, seconds: float) -> None:
    if hasattr(signal, "setitimer"):
        if handler is not None:
            signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, seconds)
