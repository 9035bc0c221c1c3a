"""The comparison of many records."""

import json
import statistics
import sys
from functools import partial

from benchmarks.bench import Bench, run, table, timed
from lrdecay.records.record import digest


def records(bench: Bench) -> None:
    """The comparison of many records."""
    bench.train("-m", "data=digits", "trainer.max_epochs=20", "schedule=cosine", "seed=1,2", "name=originals")
    original = json.loads(next((bench.folder / "sweeps/originals").glob("*/record.json")).read_text())
    del original["digest"]
    seconds = {}
    for count in (10, 100, 500, 1000):
        folder = bench.folder / f"records-{count}"
        for number in range(count):
            original["config"] |= {"seed": number % 10, "optimizer": {"lr": 1e-3 * (1 + number // 10 % 10)}}
            original["config"]["data"]["batch_size"] = 64 + number // 100
            (folder / str(number)).mkdir(parents=True)
            (folder / str(number) / "record.json").write_text(json.dumps(original | {"digest": digest(original)}))
        command = [sys.executable, "scripts/compare.py", str(folder)]
        seconds[str(count)] = statistics.median(timed(partial(run, command)) for _ in range(bench.rounds))
    bench.results["records"] = seconds
    rows = [[f"{int(count):,} records", f"{value:.2f}"] for count, value in seconds.items()]
    table("scripts/compare.py, from command to page", ["", "seconds"], rows)
