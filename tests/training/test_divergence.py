"""Losses that are no finite numbers."""

import math
import re

import pytest
from support import programs
from support.runs import SMALL, StoppedAt, the_run

from lrdecay.records.record import read

pytestmark = pytest.mark.slow


class PoisonedAt(StoppedAt):
    """Makes weights, or only what is measured, NaN when a step begins."""

    def __init__(self, step: int, weights: bool = True) -> None:
        self.step, self.weights = step, weights

    def __call__(self) -> None:
        import torch

        from lrdecay.training.module import Classifier

        original = Classifier.training_step

        def step(module, batch, batch_idx):
            if module.trainer.global_step == self.step:
                if self.weights:
                    with torch.no_grad():
                        next(module.parameters()).fill_(math.nan)
                else:
                    module.course.journal.train.add(torch.full((1, 10), math.inf), torch.zeros(1, dtype=torch.long))
            return original(module, batch, batch_idx)

        Classifier.training_step = step


@pytest.mark.parametrize(("poisoned", "seen", "finite"), [(0, 4, None), (23, 24, 19), (25, 29, 24)])
def test_stops_within_a_logging_interval(poisoned, seen, finite, tmp_path):
    """Which is of 5 steps here; the steps that end one are 4, 9, 14, 17, 22, 27, ... or an epoch's last."""
    done = programs.run("train.py", *SMALL, "schedule=cosine", cwd=tmp_path, prepare=PoisonedAt(poisoned))
    assert done.process.exitcode == 1
    record = read(the_run(tmp_path) / "record.json")
    assert record.outcome.status == "diverged"
    rate = 0.0005 * (1 + math.cos(math.pi * record.progress.divergence["step"] / 54))
    assert poisoned <= record.progress.divergence["step"] < poisoned + 5
    assert record.progress.divergence["lr"] == pytest.approx(rate, rel=1e-12)
    last = record.progress.divergence.get("last_step")
    assert (last is None) == (finite is None)
    if last is not None:
        assert poisoned - 5 <= last < poisoned
        assert f"; last finite {record.progress.divergence['last_loss']:.4g} at step {last}" in done.text
    assert (
        f"error: train/loss nan at step {record.progress.divergence['step']}, learning rate {rate:.6g}; " in done.text
    )


def test_goes_on_if_asked_and_says_how_it_ended(tmp_path):
    arguments = [*SMALL, "on_divergence=continue"]
    done = programs.run("train.py", *arguments, cwd=tmp_path, prepare=PoisonedAt(20))
    assert done.process.exitcode == 1
    record = read(the_run(tmp_path) / "record.json")
    assert (record.outcome.status, len(record.progress.epochs)) == ("diverged", 3)
    assert record.progress.divergence["step"] == 22
    assert done.text.count("on_divergence=continue") == 1
    chance = r"\d{1,2}\.\d\d%"
    assert re.fullmatch(rf"it ended with test/acc {chance} · val/acc {chance} · val/loss –", record.outcome.error)


def test_a_loss_that_becomes_finite_again(tmp_path):
    done = programs.run(
        "train.py", *SMALL, "on_divergence=continue", cwd=tmp_path, prepare=PoisonedAt(20, weights=False)
    )
    assert done.process.exitcode == 0, done.text
    record = read(the_run(tmp_path) / "record.json")
    assert (record.outcome.status, record.progress.divergence["step"]) == ("completed", 22)


def test_the_value_is_checked(tmp_path):
    done = programs.run("train.py", *SMALL, "on_divergence=ignore", cwd=tmp_path)
    assert done.process.exitcode == 1
    assert done.text == "error: on_divergence=ignore: must be stop or continue\n"


def test_the_comparison_counts_it(tmp_path):
    jobs = ["-m", *SMALL, "optimizer=sgd", "optimizer.lr=0.1,1e30", "seed=1,2"]
    done = programs.run("train.py", *jobs, cwd=tmp_path)
    assert done.process.exitcode == 1
    assert "0 of 2 (2 diverged)" in done.text
    assert "error: 2 of 4 jobs did not complete" in done.text
