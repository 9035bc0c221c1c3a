"""Time and memory as work grows: jobs, records, steps of a schedule, images, epochs."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

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
    """

    unit: str
    amounts: Sequence[int]
    costs: Sequence[Cost]

    @property
    def line(self) -> tuple[float, float]:
        """Seconds without any, and for each more, by least squares of the relative errors."""
        amounts, seconds = np.array(self.amounts, float), np.array([cost.seconds for cost in self.costs])
        design = np.stack([np.ones_like(amounts), amounts], axis=1) / seconds[:, None]
        constant, slope = np.linalg.lstsq(design, np.ones_like(amounts), rcond=None)[0]
        return float(constant), float(slope)


def scale(bench: Bench) -> None:
    """Time and memory as work grows."""
    growths = [
        grown("jobs", (10, 100, 1000), lambda count: jobs(bench, count)),
        grown("jobs already complete", (10, 100, 1000), lambda count: jobs(bench, count)),
        grown("records", (10, 100, 1000, 10_000), lambda count: records(bench, count)),
        grown("steps of a schedule", (10**3, 10**5, 10**6, 10**7, 10**9), steps),
        grown("images", (1_797, 6_000, 20_000, 60_000), lambda count: images(bench, count)),
        grown("epochs", (1, 10, 100, 500), lambda count: epochs(bench, count)),
    ]
    bench.results["scale"] = {
        growth.unit: {
            "amounts": list(growth.amounts),
            "seconds": [cost.seconds for cost in growth.costs],
            "megabytes": [cost.megabytes for cost in growth.costs],
            "line": growth.line,
        }
        for growth in growths
    }
    rows = []
    for growth in growths:
        constant, slope = growth.line
        for amount, cost in zip(growth.amounts, growth.costs, strict=True):
            of_line = cost.seconds / (constant + slope * amount)
            seconds = f"{cost.seconds:.3g}"
            rows.append([f"{amount:,} {growth.unit}", seconds, f"{of_line:.2f}", f"{cost.megabytes:,.0f}"])
        rows.append([f"  {constant:.2g} s + {1e3 * slope:.2g} ms each", "", "", ""])
    table("As work grows", ["", "seconds", "of its line", "MB"], rows)


def grown(unit: str, amounts: Sequence[int], cost: Callable[[int], Cost]) -> Growth:
    costs = []
    for amount in amounts:
        print(f"{amount:,} {unit}", file=sys.stderr, flush=True)
        costs.append(cost(amount))
    return Growth(unit, amounts, costs)


def measured(command: list[str]) -> Cost:
    """Runs a command from the root of the project; what it printed ends this program if it fails."""
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"error: {' '.join(command)} ended with status {process.returncode}:\n{output}")
    return Cost(time.perf_counter() - start, usage.ru_maxrss / 1024, output)


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
