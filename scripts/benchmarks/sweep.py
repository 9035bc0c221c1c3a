"""Eight short runs, one after the other and side by side."""

import statistics
from functools import partial

from benchmarks.bench import Bench, ratio, table, take_turns, timed


def sweep(bench: Bench) -> None:
    """Eight short runs, one after the other and side by side."""
    ways = {
        "one after the other": [],
        "one after the other, one thread": ["process.threads=1"],
        "side by side, hydra/launcher=parallel": ["hydra/launcher=parallel"],
    }
    eight = [f"data={bench.data}", f"trainer.max_epochs={bench.epochs}", "schedule=constant,step,exponential,cosine"]

    def sweep_in(way: list[str], round: int) -> float:
        return timed(lambda: bench.train("-m", *eight, "seed=1,2", *way))

    seconds = take_turns({name: partial(sweep_in, way) for name, way in ways.items()}, bench.rounds)
    parallel = seconds["side by side, hydra/launcher=parallel"]
    ratios = {name: ratio(values, parallel) for name, values in seconds.items()}
    bench.results["sweep"] = {"seconds": seconds, "throughput_of_parallel": ratios, "epochs": bench.epochs}
    rows = []
    for name, values in seconds.items():
        median = statistics.median(values)
        rows.append([name, f"{median:.1f}", f"{median / (8 * bench.epochs):.2f}", f"{ratios[name]:.2f}"])
    columns = ["", "seconds", "per run and epoch", "throughput of side by side : it"]
    table(f"A sweep of 8 runs of {bench.epochs} epochs on {bench.data}, from command to comparison", columns, rows)
