"""Eight short runs, one after the other and side by side; and what each launcher costs beside the training."""

import importlib.util
import shutil
import statistics
import sys
from functools import partial

from benchmarks.bench import Bench, ratio, table, take_turns, timed
from lrdecay.machine import cores
from lrdecay.records.record import read

JOBS = 200
"""Of one epoch each, with which launchers are compared."""


def sweep(bench: Bench) -> None:
    """Eight short runs, one after the other and side by side; and what each launcher costs beside the training."""
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
    launchers(bench)


def launchers(bench: Bench) -> None:
    """What launchers that are there cost a job, beside its training."""
    there = {
        "basic": True,
        "parallel": True,
        "ray": importlib.util.find_spec("ray") is not None,
        "slurm": importlib.util.find_spec("submitit") is not None and shutil.which("sbatch") is not None,
    }
    found, rows = {}, []
    for name in [name for name, known in there.items() if known]:
        print(f"{JOBS} jobs by {name}", file=sys.stderr, flush=True)
        at_once = 1 if name == "basic" else cores()
        tiny = ["data=digits", "model=mlp", "trainer.max_epochs=1", "process.threads=1", f"seed=range({JOBS})"]
        words = ["-m", f"hydra/launcher={name}", *tiny, f"name={name}"]
        seconds = timed(partial(bench.train, *words))
        files = list((bench.folder / "sweeps" / name).glob("*/record.json"))
        training = statistics.fmean(read(file).progress.seconds for file in files)
        cost = at_once * seconds / JOBS - training
        found[name] = {"seconds": seconds, "jobs": len(files), "training": training, "own": cost}
        rows.append([name, f"{seconds:.1f}", str(at_once), f"{training:.2f}", f"{cost:.2f}"])
    bench.results["launchers"] = found
    columns = ["hydra/launcher", "seconds in all", "jobs at a time", "of a run", "beside it, of a core, a job"]
    table(f"A sweep of {JOBS} runs of one epoch of model=mlp data=digits", columns, rows)
