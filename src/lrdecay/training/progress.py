"""The progress of runs on the terminal: one line each. The jobs of a parallel sweep send theirs to the process that
draws them all.

Imported by the launcher, so nothing heavy is imported here.
"""

import sys
import time
from collections.abc import Callable, Hashable
from typing import Any

from rich import get_console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class Bars:
    """Lines that are drawn when they change, without a thread that would take time from the training."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.completed:.0f}/{task.total:.0f} steps · {task.fields[status]}"),
            TimeRemainingColumn(),
            auto_refresh=False,
            transient=True,
        )
        self._lines: dict[Hashable, TaskID] = {}
        self._next = 0.0
        self._progress.start()

    def update(self, line: Hashable, description: str, completed: int, total: float, status: str) -> None:
        """Changes a line, or adds one if there is none of that name; all are drawn a few times a second."""
        if line not in self._lines:
            self._lines[line] = self._progress.add_task("", total=total, status="")
        self._progress.update(self._lines[line], description=description, completed=completed, status=status)
        if (now := time.monotonic()) >= self._next:
            self._next = now + 0.2
            self._progress.refresh()

    def remove(self, line: Hashable) -> None:
        """Takes a line away, if it is there."""
        if line in self._lines:
            self._progress.remove_task(self._lines.pop(line))
            self._progress.refresh()

    def stop(self) -> None:
        """Takes all lines away."""
        self._progress.stop()


class Sent:
    """In the place of `Bars`, in a process whose lines another one draws."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        self._send = send

    def update(self, line: Hashable, **values: Any) -> None:
        self._send(values)

    def stop(self) -> None:
        pass


def display() -> Bars | Sent | None:
    """Where to draw progress; ``None`` if nobody would see it.

    Where standard output is read by a process that draws, it has a method ``progress`` that takes the values of a line.
    """
    if (send := getattr(sys.stdout, "progress", None)) is not None:
        return Sent(send)
    return Bars() if get_console().is_terminal else None
