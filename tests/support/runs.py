"""Small runs that are begun, stopped and resumed, and all that they come to."""

import csv
import os
import signal
from pathlib import Path

import torch
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from lrdecay.records.record import read
from lrdecay.training.checkpoints import read_checkpoint
from support import programs

SMALL = ["data=digits", "model=mlp", "model.hidden=[16]", "trainer.max_epochs=3", "trainer.log_every_n_steps=5"]
"""18 steps in an epoch."""


def the_run(folder: Path) -> Path:
    (run,) = (folder / "outputs/runs").iterdir()
    return run


def begin(folder: Path, *arguments: str, **options) -> programs.Program:
    folder.mkdir(exist_ok=True)
    return programs.start("train.py", *SMALL, *arguments, cwd=folder, **options)


def go_on(folder: Path, *arguments: str, **options) -> programs.Program:
    return programs.run("train.py", f"resume={the_run(folder)}", *arguments, cwd=folder, **options)


def flat(value, path=""):
    """Every leaf of a checkpoint with its path; tensors as bytes, NaN equal to itself."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from flat(item, f"{path}/{key}")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from flat(item, f"{path}/{number}")
    elif isinstance(value, torch.Tensor):
        yield path, (value.dtype, tuple(value.shape), value.numpy().tobytes())
    else:
        yield path, str(value)


def scalars(run: Path) -> list[tuple[int, str, float]]:
    """Everything logged to TensorBoard, as it lies in the files."""
    found = []
    for file in run.glob("events.out.tfevents.*"):
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                if not value.tag.startswith(("_hparams_", "custom_scalars")):
                    found.append((event.step, value.tag, value.tensor.float_val[0]))
    return sorted(found)


def ends(run: Path) -> dict:
    """All that a run came to: weights, optimizer, schedule, metrics."""
    checkpoint = dict(flat(read_checkpoint(run / "checkpoints/last.ckpt")))
    # How often logs were opened and how long it took is not what a run comes to.
    own = {key: value for key, value in checkpoint.items() if not key.startswith(("/logs", "/callbacks/RecordKeeper"))}
    record = read(run / "record.json")
    return {
        "checkpoint": {key: value for key, value in own.items() if not key.startswith("/loops")},
        "best": dict(flat(read_checkpoint(run / "checkpoints/best.ckpt")["state_dict"])),
        "metrics.csv": (run / "metrics.csv").read_text(),
        "tensorboard": scalars(run),
        "record": (
            record.outcome.status,
            record.progress.epochs,
            record.progress.rates,
            record.outcome.final,
            record.outcome.best,
            record.result_hash,
        ),
        "epochs timed": len(record.progress.epoch_seconds),
        "files": sorted(file.name for file in run.rglob("*") if not file.name.startswith("events.")),
    }


def assert_same(run: Path, reference: Path) -> None:
    for (what, value), expected in zip(ends(run).items(), ends(reference).values(), strict=True):
        if isinstance(value, dict):
            different = [key for key in value.keys() | expected.keys() if value.get(key) != expected.get(key)]
            assert not different, (what, different[:10])
        assert value == expected, what


def assert_continuous(run: Path) -> None:
    rows = list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
    steps = [int(row["step"]) for row in rows if row["train/loss"]]
    assert steps == sorted(set(steps))
    logged = [entry for entry in scalars(run) if entry[1] != "epoch"]  # beside the others, train/… and val/…
    assert len(logged) == len({(step, tag) for step, tag, _ in logged})


class OnAMachine:
    """Where dense layers are faster by oneDNN, or not; stopped at a step, if there is one to stop at."""

    def __init__(self, onednn: bool, step: int | None = None) -> None:
        self.onednn, self.step = onednn, step

    def __call__(self) -> None:
        import lrdecay.machine

        lrdecay.machine.multiplies_faster_by_onednn = lambda: self.onednn
        if self.step is not None:
            StoppedAt(self.step)()


class StoppedAt:
    """Sends this process a signal when it begins a step, a validation batch or the validation's end."""

    def __init__(self, step: int, where: str = "training_step", number: int = signal.SIGTERM) -> None:
        self.step, self.where, self.number = step, where, number

    def __call__(self) -> None:
        from lrdecay.training.module import Classifier

        original = getattr(Classifier, self.where)

        def stopped(module, *arguments):
            if module.trainer.global_step == self.step and module.trainer.state.fn == "fit":
                self.step = -1
                os.kill(os.getpid(), self.number)
            return original(module, *arguments)

        setattr(Classifier, self.where, stopped)
