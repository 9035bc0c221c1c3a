"""Tests run the real programs as a user would, in a folder of their own, on the digits that need no download."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from lrdecay.groups import Group, group
from lrdecay.record import Record, digest

os.environ.setdefault("KERAS_BACKEND", "torch")

ROOT = Path(__file__).parent.parent
Program = Callable[..., subprocess.CompletedProcess[str]]

# Nothing listens there, so a download fails at once, whether or not the machine has a network.
NO_NETWORK = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}


def run_program(script: str, *arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs ``python script arguments`` in `cwd`; a thread each, as tests run side by side."""
    return subprocess.run(
        [sys.executable, ROOT / script, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "160", "LRDECAY_FULL_ERROR": "0"} | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def edit(file: Path, **values: Any) -> None:
    """Writes other values into a record, as if it had been written with them."""
    whole = json.loads(file.read_text()) | values
    whole.pop("digest")
    file.write_text(json.dumps(whole | {"digest": digest(whole)}))


def a_run(schedule="step", seed=1, accuracy=0.9, data="digits", status="completed", epochs=3, **settings) -> Record:
    """A record as a run leaves it."""
    config = {"schedule": {"_target_": schedule, **settings}, "optimizer": {"lr": 0.1}, "seed": seed}
    rows = [
        {
            "epoch": e,
            "step": 10 * e + 9,
            "lr": 0.1,
            "train/loss": 1.0,
            "train/acc": 0.5,
            "val/loss": 0.5,
            "val/acc": accuracy,
        }
        for e in range(epochs)
    ]
    record = Record(Path("run"), config, {"schedule": schedule, "optimizer": "sgd"}, status=status, data=data)
    record.epochs, record.rates, record.steps_per_epoch = rows, [(0, 0.1), (29, 0.1)], 10
    if status == "completed":
        record.final = {"val/acc": accuracy, "val/loss": 0.5, "test/acc": accuracy}
        record.best = rows[-1]
    record.epoch_seconds = [1.5] * epochs
    return record


def groups_of(*runs: Record) -> list[Group]:
    """The groups of records of one data set."""
    (groups,) = group(runs).values()
    return groups


def at_rate(schedule: str, lr: float, seed: int = 1, accuracy: float = 0.9, **more) -> Record:
    """A record under a base rate of its own."""
    run = a_run(schedule, seed, accuracy, **more)
    run.config["optimizer"]["lr"] = lr
    return run


def grid(schedules=("constant", "cosine"), rates=(0.1, 0.3), seeds=(1, 2)) -> list[Group]:
    """Groups of every schedule at every rate."""
    return groups_of(*[at_rate(schedule, lr, seed) for schedule in schedules for lr in rates for seed in seeds])


def write_runs(folder: Path, runs: Iterable[Record]) -> Path:
    """Writes records as runs leave them, each into a folder of its own."""
    for number, run in enumerate(runs, start=1):
        run.directory = folder / f"{number:03}_{run.choices['schedule']}_seed-{run.config['seed']}"
        run.directory.mkdir(parents=True)
        run.write()
    return folder


@pytest.fixture
def train(tmp_path: Path) -> Program:
    """Runs ``train.py [flags] data=digits …`` in a fresh folder."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        flags = list(itertools.takewhile(lambda argument: "=" not in argument, arguments))
        overrides = arguments[len(flags) :]
        return run_program("train.py", *flags, "data=digits", *overrides, cwd=tmp_path, **environment)

    return run


@pytest.fixture(scope="session")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A sweep of four: its folder, and what the command printed."""
    folder = tmp_path_factory.mktemp("sweep")
    arguments = ["-m", "data=digits", "schedule=cosine,step", "seed=1,2", "trainer.max_epochs=3", "name=four"]
    done = run_program("train.py", *arguments, cwd=folder)
    return folder / "outputs/sweeps/four", done


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """The folder with the real MNIST."""
    root = Path(os.environ.get("LRDECAY_DATA", ROOT / "data")).absolute()
    if not (root / "MNIST/raw/train-images-idx3-ubyte").is_file():
        pytest.skip("MNIST is not on disk: set LRDECAY_DATA")
    return root
