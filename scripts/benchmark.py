"""Measures what schedules cost: a million steps as one array, and the rate set at each step of a training.

python scripts/benchmark.py
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from lrdecay import schedules
from lrdecay.adapter import Rates
from lrdecay.durations import Horizon
from lrdecay.placement import Schedule

STEPS = 1_000_000
TRAINED = 20_000


def seconds(function: Callable[[], object], rounds: int) -> float:
    """Median time of a call, after one that does not count."""
    function()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def evaluated(schedule: Schedule, rounds: int) -> float:
    """Seconds for the factors of a million steps."""
    steps, horizon = np.arange(STEPS), Horizon(STEPS, 1000)
    return seconds(lambda: schedule.factor(steps, horizon), rounds)


def set_at_each_step(schedule: Schedule, rounds: int) -> float:
    """Seconds a step that setting the optimizer's rate, momentum and weight decay takes."""
    parameter = torch.nn.Parameter(torch.zeros(1))

    def run() -> None:
        rates = Rates(torch.optim.AdamW([parameter], weight_decay=0.01), schedule, Horizon(TRAINED, 1000))
        rates.optimizer.step()
        for step in range(TRAINED):
            if rates.more_than_rates:
                rates.before_step(step)
            rates.scheduler.step()

    return seconds(run, rounds) / TRAINED


def catalogue() -> list[Schedule]:
    """Every shape with its defaults, and one with all that can be placed around it."""
    classes = [value for value in vars(schedules).values() if isinstance(value, type) and issubclass(value, Schedule)]
    shapes = [cls() for cls in classes if cls is not Schedule]
    everything = schedules.Cosine(
        warmup="5%", warmup_curve="cosine", cooldown="20%", sample_every="0.3ep", momentum=(0.85, 0.95),
        weight_decay="constant",
    )  # fmt: skip
    return [*shapes, everything]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="of which the median is taken [%(default)s]")
    rounds = max(parser.parse_args().rounds, 1)
    grid = Table(title=f"{platform.processor() or platform.machine()}, median of {rounds}", box=SIMPLE_HEAD)
    grid.add_column("schedule")
    grid.add_column("10⁶ steps, ms", justify="right")
    grid.add_column("set at a step, µs", justify="right")
    for schedule in catalogue():
        name = type(schedule).__name__ + (" with everything" if schedule.momentum else "")
        array, step = evaluated(schedule, rounds), set_at_each_step(schedule, max(rounds // 2, 1))
        grid.add_row(name, f"{1e3 * array:.0f}", f"{1e6 * step:.1f}")
    Console().print(grid)


if __name__ == "__main__":
    main()
