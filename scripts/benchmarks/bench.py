"""What all parts of the benchmark use."""

import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from lrdecay.data.digits import Digits
from lrdecay.data.mnist import read_mnist

ROOT = Path(__file__).resolve().parent.parent.parent
PEERS = ROOT / "scripts/peers"


@dataclass
class Bench:
    """What all parts of the benchmark use, and what they found.

    Attributes:
        rounds: how often contestants take turns.
        epochs: of each training; the first of them does not count.
        folder: for runs, removed at the end.
        data: ``mnist`` or ``digits``.
        keras_python: an interpreter that has Keras and TensorFlow.
        results: by part, plain values.
    """

    rounds: int
    epochs: int
    folder: Path
    data: str
    keras_python: str
    results: dict[str, Any] = field(default_factory=dict)

    def train(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs ``train.py``, as a user would."""
        return run([sys.executable, "train.py", *arguments, f"output_dir={self.folder}"], **environment)

    def peer(self, name: str, seed: int) -> dict[str, Any]:
        """Runs one of the others, and gives what it prints at last."""
        python = self.keras_python if name.startswith("keras") else sys.executable
        arguments = [self.folder / "data.npz", self.epochs, seed, self.folder]
        done = run([python, str(PEERS / f"{name}.py"), *map(str, arguments)])
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found


def run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command from the root of the project; what it printed ends this program if it fails."""
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"error: {' '.join(command)} ended with status {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done


def timed(function: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Prints a table whose first column is names and the others numbers."""
    print(f"\n{title}")
    grid = Table(box=SIMPLE_HEAD)
    for number, column in enumerate(columns):
        grid.add_column(column, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        grid.add_row(*row)
    Console(width=110).print(grid)


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    info = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", info.read_text()) if info.is_file() else None
    cpu = model[1] if model else platform.processor() or platform.machine()
    versions = {package: version(package) for package in ("torch", "pytorch-lightning", "hydra-core")}
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    parts = {"cpu": cpu, "cores": os.cpu_count(), "threads": torch.get_num_threads(), "gpu": gpu}
    return parts | {"python": platform.python_version()} | versions


def save_data(name: str, file: Path) -> None:
    """The training and validation images as arrays, for the others."""
    (images, labels), _ = Digits().load() if name == "digits" else read_mnist(mnist_root())
    x, y, val = images[:, 0].numpy(), labels.numpy(), len(labels) // 5
    np.savez(file, x_train=x[:-val], y_train=y[:-val], x_val=x[-val:], y_val=y[-val:])


def mnist_root() -> Path:
    return Path(os.environ.get("LRDECAY_DATA", "data")).resolve()


def ratio(ours: list[float], others: list[float]) -> float:
    """The median of the ratios within a round."""
    return statistics.median(one / other for one, other in zip(ours, others, strict=True))


def take_turns(contestants: dict[str, Callable[[int], Any]], rounds: int) -> dict[str, list[Any]]:
    """What each gave, called with the number of the round; every other round goes backwards, against drift."""
    results: dict[str, list[Any]] = {name: [] for name in contestants}
    for number in range(rounds):
        for name in list(contestants)[:: 1 if number % 2 == 0 else -1]:
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr, flush=True)
            results[name].append(contestants[name](number))
    return results


def newest(folder: Path) -> Path:
    """The folder of the last run."""
    return max(folder.iterdir(), key=lambda path: path.stat().st_mtime)
