"""From the command to its answer, and to the first step of a training."""

import statistics
import sys
import time
from functools import partial

from benchmarks.bench import PEERS, Bench, run, table, timed


def startup(bench: Bench) -> None:
    """From the command to its answer, and to the first step of a training."""
    commands = {"--help": ["--help"], "--cfg job": ["--cfg", "job"]}
    seconds: dict[str, list[float]] = {name: [] for name in [*commands, "first training step, digits"]}
    for _ in range(bench.rounds):
        for name, arguments in commands.items():
            seconds[name].append(timed(partial(run, [sys.executable, "train.py", *arguments])))
        start = time.time()
        done = bench.train("data=digits", "trainer.max_epochs=1", "+callbacks.clock._target_=first_step.Clock",
                           PYTHONPATH=str(PEERS))  # fmt: skip
        seconds["first training step, digits"].append(float(done.stderr.split("first step at ")[1].split()[0]) - start)
    bench.results["startup"] = seconds
    rows = [[name, f"{statistics.median(values):.2f}"] for name, values in seconds.items()]
    table(f"Start-up, seconds, median of {bench.rounds} rounds", ["", "seconds"], rows)
