"""The comparison of many records."""

import json
import statistics
import sys
from functools import partial
from pathlib import Path

from benchmarks.bench import Bench, run, table, timed
from lrdecay.records.record import digest


def copies(bench: Bench, count: int) -> Path:
    """A folder of that many records of 20 epochs, ten seeds to a group."""
    folder = bench.folder / f"records-{count}"
    if folder.exists():
        return folder
    if not (originals := bench.folder / "sweeps/originals").exists():
        bench.train("-m", "data=digits", "trainer.max_epochs=20", "schedule=cosine", "seed=1,2", "name=originals")
    original = json.loads(next(originals.glob("*/record.json")).read_text())
    del original["digest"]
    for number in range(count):
        original["config"] |= {"seed": number % 10, "optimizer": {"lr": 1e-3 * (1 + number // 10 % 10)}}
        original["config"]["data"]["batch_size"] = 64 + number // 100
        (folder / str(number)).mkdir(parents=True)
        (folder / str(number) / "record.json").write_text(json.dumps(original | {"digest": digest(original)}))
    return folder


def records(bench: Bench) -> None:
    """The comparison of many records."""
    seconds = {}
    for count in (10, 100, 500, 1000):
        command = [sys.executable, "scripts/compare.py", str(copies(bench, count))]
        seconds[str(count)] = statistics.median(timed(partial(run, command)) for _ in range(bench.rounds))
    bench.results["records"] = seconds
    rows = [[f"{int(count):,} records", f"{value:.2f}"] for count, value in seconds.items()]
    table("scripts/compare.py, from command to page", ["", "seconds"], rows)
