"""The table of the conformance test: our schedules beside their sources."""

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lrdecay.schedules import Horizon, Schedule


class Pair(NamedTuple):
    """One draw: what both give at steps 0, 1, 2, …"""

    ours: np.ndarray
    theirs: Any
    schedule: Schedule


class Row(NamedTuple):
    name: str
    draw: Callable[[random.Random], Pair]


ROWS: list[Row] = []


def row(name: str) -> Callable:
    """Enters a function from a source of random numbers to a `Pair` into the table."""

    def enter(draw: Callable[[random.Random], Pair]) -> Callable[[random.Random], Pair]:
        ROWS.append(Row(name, draw))
        return draw

    return enter


def run(schedule: Schedule, total: int, steps: int | None = None, start: int = 0) -> np.ndarray:
    """Our factors at steps start, start + 1, …, up to the end of the run, or `steps` of them."""
    last = total if steps is None else start + steps - 1
    return schedule.factor(np.arange(start, last + 1), Horizon(total, 1))
