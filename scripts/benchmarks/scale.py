"""Time and memory as work grows: jobs, records, steps of a schedule, images, epochs."""

import math
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.bench import ROOT, Bench, newest, table
from benchmarks.records import copies
from lrdecay.records.record import read

TINY = ["data=digits", "model=mlp", "model.hidden=[16]"]
POINTS = 1_000_000
EVALUATE = """
import sys, time
import numpy as np
from lrdecay import Cosine, Horizon

total = int(sys.argv[1])
steps = np.linspace(0, total - 1, min(total, int(sys.argv[2]))).astype(np.int64)
rate = Cosine(warmup="5%", final=0.01).over(Horizon(total, 1000))
start = time.perf_counter()
rate(steps)
print(time.perf_counter() - start)
"""


class Cost(NamedTuple):
    """Of a command: seconds, and the highest resident set in MB."""

    seconds: float
    megabytes: float
    output: str = ""


class Growth(NamedTuple):
    """How a cost grows with an amount.

    Attributes:
        unit: of the amounts.
        amounts: those that were tried.
        costs: of each.
        most: amounts above it are no more work.
    """

    unit: str
    amounts: Sequence[int]
    costs: Sequence[Cost]
    most: float = math.inf

    @property
    def work(self) -> np.ndarray:
        counted: np.ndarray = np.minimum(np.array(self.amounts, dtype=float), self.most)
        return counted

    @property
    def line(self) -> tuple[float, float]:
        """Seconds without any, and for each more, by least squares of the relative errors."""
        seconds = np.array([cost.seconds for cost in self.costs])
        design = np.stack([np.ones_like(self.work), self.work], axis=1) / seconds[:, None]
        constant, slope = np.linalg.lstsq(design, np.ones_like(self.work), rcond=None)[0]
        return float(constant), float(slope)

    def summary(self) -> dict[str, Any]:
        """Plain values."""
        constant, slope = self.line
        return {
            "amounts": list(self.amounts),
            "seconds": [cost.seconds for cost in self.costs],
            "on_the_line": (constant + slope * self.work).tolist(),
            "megabytes": [cost.megabytes for cost in self.costs],
            "line": (constant, slope),
        }


def scale(bench: Bench) -> None:
    """Time and memory as work grows."""
    growths = [
        grown("jobs", (10, 100, 1000), lambda count: jobs(bench, count)),
        grown("jobs already complete", (10, 100, 1000), lambda count: jobs(bench, count)),
        grown("records", (10, 100, 1000, 10_000), lambda count: records(bench, count)),
        grown("steps of a schedule", (10**3, 10**4, 10**5, 10**6, 10**7, 10**9), steps, POINTS),
        grown("images", (1_797, 6_000, 20_000, 60_000), lambda count: images(bench, count)),
        grown("epochs", (1, 10, 100, 500), lambda count: epochs(bench, count)),
    ]
    found = bench.results["scale"] = {growth.unit: growth.summary() for growth in growths}
    rows = []
    for unit, growth in found.items():
        for values in zip(*(growth[key] for key in ("amounts", "seconds", "on_the_line", "megabytes")), strict=True):
            amount, seconds, expected, megabytes = values
            rows.append([f"{amount:,} {unit}", f"{seconds:.3g}", f"{seconds / expected:.2f}", f"{megabytes:,.0f}"])
        constant, slope = growth["line"]
        rows.append([f"  {constant:.2g} s + {1e3 * slope:.2g} ms each", "", "", ""])
    table("As work grows", ["", "seconds", "of its line", "MB"], rows)


def grown(unit: str, amounts: Sequence[int], cost: Callable[[int], Cost], most: float = math.inf) -> Growth:
    costs = []
    for amount in amounts:
        print(f"{amount:,} {unit}", file=sys.stderr, flush=True)
        costs.append(cost(amount))
    return Growth(unit, amounts, costs, most)


def measured(command: list[str]) -> Cost:
    """Runs a command from the root of the project; what it printed ends this program if it fails."""
    start, highest = time.perf_counter(), 0
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            if found := re.search(r"VmHWM:\s*(\d+)", status.read_text()):
                highest = int(found[1])
            time.sleep(0.02)
        seconds = time.perf_counter() - start
        output.seek(0)
        text = output.read()
    if process.returncode != 0:
        sys.exit(f"error: {' '.join(command)} ended with status {process.returncode}:\n{text}")
    return Cost(seconds, highest / 1024, text)


def jobs(bench: Bench, count: int) -> Cost:
    """A sweep of that many runs of an epoch; the second time all are complete."""
    seeds = ",".join(map(str, range(count)))
    command = ["train.py", "-m", *TINY, "trainer.max_epochs=1", f"seed={seeds}", f"name=jobs-{count}"]
    return measured([sys.executable, *command, f"output_dir={bench.folder}"])


def records(bench: Bench, count: int) -> Cost:
    """The comparison of that many records of 20 epochs, a tenth as many groups."""
    return measured([sys.executable, "scripts/compare.py", str(copies(bench, count))])


def steps(count: int) -> Cost:
    """A schedule of that many steps, at each of them or at a million, in a process of its own."""
    cost = measured([sys.executable, "-c", EVALUATE, str(count), str(POINTS)])
    return cost._replace(seconds=float(cost.output))


def images(bench: Bench, count: int) -> Cost:
    """An epoch of the article's training on that many images of MNIST, validation images among them."""
    size = ["data=digits"] if count == 1_797 else ["data=mnist", f"data.train_size={count - count // 5}"]
    cost = measured([sys.executable, "train.py", *size, "trainer.max_epochs=2", f"output_dir={bench.folder}"])
    record = read(newest(bench.folder / "runs") / "record.json")
    return cost._replace(seconds=record.progress.epoch_seconds[1])


def epochs(bench: Bench, count: int) -> Cost:
    """A run of that many epochs."""
    return measured([sys.executable, "train.py", *TINY, f"trainer.max_epochs={count}", f"output_dir={bench.folder}"])
