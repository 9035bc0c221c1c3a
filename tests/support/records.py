"""Records as runs leave them, made up."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lrdecay.analysis.groups import Group, group_records
from lrdecay.records.record import Outcome, Plan, Progress, Record, digest, write


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
    choices = {"schedule": schedule, "optimizer": "sgd"}
    record = Record(
        Path("run"),
        Plan(config=config, choices=choices, data=data, steps_per_epoch=10),
        Progress(epochs=rows, rates=[(0, 0.1), (29, 0.1)], epoch_seconds=[1.5] * epochs),
        Outcome(status=status),
    )
    if status == "completed":
        record.outcome.final = {"val/acc": accuracy, "val/loss": 0.5, "test/acc": accuracy}
        record.outcome.best = rows[-1]
    return record


def of_configuration(directory: Path, **composed: Any) -> Record:
    """A record that is known for its configuration only."""
    return Record(directory, Plan(config={}, composed=composed))


def groups_of(*runs: Record) -> list[Group]:
    """The groups of records of one data set."""
    (groups,) = group_records(runs).values()
    return groups


def at_rate(schedule: str, lr: float, seed: int = 1, accuracy: float = 0.9, **more) -> Record:
    """A record under a base rate of its own."""
    run = a_run(schedule, seed, accuracy, **more)
    run.plan.config["optimizer"]["lr"] = lr
    return run


def grid(schedules=("constant", "cosine"), rates=(0.1, 0.3), seeds=(1, 2)) -> list[Group]:
    """Groups of every schedule at every rate."""
    return groups_of(*[at_rate(schedule, lr, seed) for schedule in schedules for lr in rates for seed in seeds])


def write_runs(folder: Path, runs: Iterable[Record]) -> Path:
    """Writes records as runs leave them, each into a folder of its own."""
    for number, run in enumerate(runs, start=1):
        run.directory = folder / f"{number:03}_{run.plan.choices['schedule']}_seed-{run.plan.config['seed']}"
        run.directory.mkdir(parents=True)
        write(run)
    return folder
