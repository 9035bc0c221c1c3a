"""The horizon is a plan: what really ended a run is said, kept apart in comparisons, and gone when it is extended."""

import csv
from pathlib import Path

import pytest
import torch
from support import programs
from support.records import a_run, groups_of, write_runs
from support.runs import SMALL, StoppedAt, the_run

from lrdecay.analysis.comparison import compare_groups
from lrdecay.analysis.groups import group_records
from lrdecay.records.record import read
from lrdecay.training.checkpoints import read_checkpoint

OWN = """
import pytorch_lightning as pl, torch
from torch.utils.data import DataLoader, TensorDataset

class Ends(pl.Callback):
    def __init__(self, step): self.step = step
    def on_train_batch_end(self, trainer, *_):
        trainer.should_stop |= trainer.global_step == self.step and trainer.max_epochs == 3

class Fewer(pl.LightningDataModule):
    '''Announces twice as many batches as there are.'''
    def train_dataloader(self):
        class Loader(DataLoader):
            def __len__(self): return 2 * super().__len__()
        return Loader(TensorDataset(torch.rand(64, 1, 28, 28), torch.arange(64) % 10), 16)
    def val_dataloader(self):
        return DataLoader(TensorDataset(torch.rand(64, 1, 28, 28), torch.arange(64) % 10), 16)
    test_dataloader = val_dataloader

class SwapsTheSchedule(pl.Callback):
    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch == 1:
            trainer.lr_scheduler_configs[0].scheduler = torch.optim.lr_scheduler.ConstantLR(trainer.optimizers[0])

class AddsParameters(pl.Callback):
    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch == 1:
            trainer.optimizers[0].add_param_group({"params": [torch.nn.Parameter(torch.zeros(1))]})

class Accumulates(pl.Callback):
    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch == 1:
            trainer.accumulate_grad_batches = 3
"""
ENDS = "+callbacks.ends._target_=own.Ends"
EARLY = ["callbacks=early_stopping", "callbacks.early_stopping.patience=1", "+callbacks.early_stopping.min_delta=1"]


@pytest.fixture
def own(tmp_path) -> Path:
    """A folder with classes of one's own."""
    (tmp_path / "own.py").write_text(OWN)
    return tmp_path


def train(folder: Path, *arguments: str) -> programs.Program:
    return programs.run("train.py", *arguments, cwd=folder, prepare=importable)


def importable() -> None:
    import sys

    sys.path.insert(0, str(Path.cwd()))


REASONS = {
    "time limit": ["trainer.max_epochs=100000", "trainer.max_time={milliseconds: 300}"],
    "early stopping": ["trainer.max_epochs=9", *EARLY],
    "stopped by a callback": [ENDS, "+callbacks.ends.step=25"],
    "fewer batches than announced": [
        "data._target_=own.Fewer",
        "data=digits",
        *(f"~data.{key}" for key in ("batch_size", "eval_batch_size", "val_size", "shift")),
    ],
}


@pytest.mark.parametrize("reason", REASONS)
def test_the_end_is_compared_with_the_plan(reason, own):
    done = train(own, *SMALL, "schedule=cosine", *REASONS[reason])
    assert done.process.exitcode == 0, done.text
    record = read(the_run(own) / "record.json")
    assert (record.outcome.status, record.outcome.ended_by, record.whole) == ("completed", reason, False)
    assert 0 < record.progress.steps < record.plan.total_steps
    last = done.text.splitlines()[-1]
    assert f"· ended at step {record.progress.steps:,} of {record.plan.total_steps:,} ({reason}) ·" in last


@pytest.mark.parametrize("length", [[], ["trainer.max_steps=20"], ["trainer.max_epochs=2", "trainer.max_steps=1000"]])
def test_a_run_that_came_to_its_end_says_nothing(length, tmp_path):
    done = train(tmp_path, *SMALL, *length)
    record = read(the_run(tmp_path) / "record.json")
    assert (record.outcome.ended_by, record.whole) == (None, True)
    assert record.progress.steps == record.plan.total_steps == {0: 54, 1: 20, 2: 36}[len(length)]
    assert "ended at" not in done.text
    assert {0: "3 epochs", 1: "20 steps", 2: "2 epochs"}[len(length)] in done.text, "what will be done is announced"


# 18 steps in an epoch: within the first, at its end, within the second, and at the end of that.
@pytest.mark.parametrize("step", [7, 18, 25, 36])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_extended_it_is_what_it_would_have_been(step, accumulate, own):
    """Under a schedule that does not depend on the length, to the last bit, wherever it was ended."""
    common = [f"trainer.accumulate_grad_batches={accumulate}", f"data.batch_size={64 // accumulate}", "data.shift=1"]
    whole, ended = own / "whole", own / "ended"
    for folder in (whole, ended):
        folder.mkdir()
        (folder / "own.py").write_text(OWN)
    assert train(whole, *SMALL, *common, "trainer.max_epochs=4").process.exitcode == 0
    assert train(ended, *SMALL, *common, ENDS, f"+callbacks.ends.step={step}").process.exitcode == 0
    run = the_run(ended)
    assert read(run / "record.json").progress.steps == step
    done = train(ended, f"resume={run}", "resume_mode=extend", "trainer.max_epochs=4", "trust=true")
    assert done.process.exitcode == 0, done.text
    record, expected = read(run / "record.json"), read(the_run(whole) / "record.json")
    assert (record.progress.steps, record.outcome.ended_by, len(record.progress.epoch_seconds)) == (72, None, 4)
    assert record.outcome.final == expected.outcome.final
    assert [row["step"] for row in record.progress.epochs] == [17, 35, 53, 71]
    weights, theirs = (read_checkpoint(r / "checkpoints/last.ckpt")["state_dict"] for r in (run, the_run(whole)))
    assert all(torch.equal(weights[key], theirs[key]) for key in theirs)


def test_an_extension_that_is_interrupted_has_not_ended_as_the_run_before(own):
    assert train(own, *SMALL, *EARLY).process.exitcode == 0
    run = the_run(own)
    longer = [f"resume={run}", "resume_mode=extend", "trainer.max_epochs=9"]
    assert programs.run("train.py", *longer, cwd=own, prepare=StoppedAt(40)).process.exitcode == 143
    record = read(run / "record.json")
    assert (record.outcome.status, record.outcome.ended_by, record.cut_short) == ("interrupted", None, "")


@pytest.mark.parametrize("reason", ["time limit", "early stopping"])
def test_a_wish_to_stop_ends_with_the_run_that_had_it(reason, own):
    assert train(own, *SMALL, "schedule=cosine", *REASONS[reason]).process.exitcode == 0
    run = the_run(own)
    before = read(run / "record.json")
    limits = {
        "time limit": ["trainer.max_time=null", f"trainer.max_epochs={before.progress.steps // 18 + 2}"],
        "early stopping": [
            "trainer.max_epochs=12",
            "callbacks=early_stopping",
            "callbacks.early_stopping.patience=20",
        ],
    }
    done = train(own, f"resume={run}", "resume_mode=extend", *limits[reason])
    assert done.process.exitcode == 0, done.text
    record = read(run / "record.json")
    assert record.progress.steps == record.plan.total_steps > before.progress.steps
    assert record.outcome.ended_by is None
    assert "ended at" not in done.text


def test_a_run_that_was_cut_short_may_come_to_its_own_end(own):
    assert train(own, *SMALL, "schedule=cosine", *EARLY).process.exitcode == 0
    run = the_run(own)
    again = train(own, f"resume={run}", "schedule=cosine")
    assert "already complete" in again.text
    assert "ended at step 36 of 54 (early stopping)" in again.text
    done = train(own, f"resume={run}", "resume_mode=extend", "callbacks=default")
    assert done.process.exitcode == 0, done.text
    assert read(run / "record.json").progress.steps == 54


class TestCompared:
    def cut(self, seed: int, schedule: str = "cosine", steps: int = 20):
        run = a_run(schedule, seed=seed, accuracy=0.5)
        run.progress.steps, run.plan.total_steps, run.outcome.ended_by = steps, 30, "time limit"
        return run

    def test_it_is_shown_and_not_averaged(self):
        groups = groups_of(a_run("constant", 1), a_run("constant", 2), a_run("cosine", 1, 0.8), self.cut(2))
        cosine = groups[1]
        assert cosine.counts() == "1 of 2 (1 time limit)"
        comparison = compare_groups("digits", groups)
        assert comparison.row(cosine, "val/acc")["mean"] == 0.8
        (note,) = [note for note in comparison.notes if "time limit" in note]
        assert note.startswith("cosine: seed 2 ended at step 20 of 30 (time limit); not averaged with complete runs")

    def test_unless_that_is_asked_for(self):
        runs = [a_run("cosine", 1, 0.7), self.cut(2)]
        (groups,) = group_records(runs, cut_short=True).values()
        assert compare_groups("digits", groups).row(groups[0], "val/acc")["mean"] == pytest.approx(0.6)

    def test_where_no_run_is_whole_they_are_compared_and_that_is_said(self):
        groups = groups_of(*[self.cut(seed, schedule) for seed in (1, 2) for schedule in ("constant", "step")])
        comparison = compare_groups("digits", groups)
        assert comparison.row(groups[1], "val/acc")["n"] == 2
        assert sum("its schedule was cut off there" in note for note in comparison.notes) == 2

    def test_the_script_and_the_page(self, tmp_path):
        folder = write_runs(tmp_path / "runs", [a_run("constant", 1), a_run("cosine", 1, 0.7), self.cut(2)])
        for option, n, counts in (((), "1", "1 of 2 (1 time"), (("--cut-short",), "2", " 2 ")):
            done = programs.run("scripts/compare.py", folder, *option, cwd=tmp_path)
            assert done.process.exitcode == 0, done.text
            assert counts in done.text
            with (folder / "comparison.csv").open() as file:
                rows = {row["group"]: row["n"] for row in csv.DictReader(file) if row["measure"] == "val/acc"}
            assert rows["cosine"] == n
        assert '"cut short"' in (folder / "report.html").read_text()


def test_a_sweep_says_which_of_its_jobs_were_cut_short(own):
    ends = [ENDS, "+callbacks.ends.step=20,1000"]
    done = train(own, "-m", *SMALL, "schedule=cosine", *ends, "seed=1", "name=cut")
    assert done.process.exitcode == 0, done.text
    assert "step=20: test/acc" in done.text
    assert "· ended at step 20 of 54 (stopped by a callback)" in done.text


LIGHTNINGS = {
    "StochasticWeightAveraging": ["swa_lrs=0.01"],
    "GradientAccumulationScheduler": ["scheduling={0: 1, 1: 4}"],
    "LearningRateFinder": [],
    "BatchSizeFinder": [],
    "BackboneFinetuning": [],
}


@pytest.mark.parametrize("name", LIGHTNINGS)
def test_callbacks_that_change_what_a_schedule_rests_on_are_refused(name, tmp_path):
    more = [f"+callbacks.it._target_=pytorch_lightning.callbacks.{name}"]
    more += [f"+callbacks.it.{argument}" for argument in LIGHTNINGS[name]]
    done = train(tmp_path, *SMALL, *more)
    assert done.process.exitcode == 1
    (line,) = done.text.splitlines()
    assert line.startswith(f"error: callbacks.it: {name} ")
    assert "; " in line, "what to use instead"
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("SwapsTheSchedule", "replaced the schedule"),
        ("AddsParameters", "added parameters, which the schedule does not reach"),
        ("Accumulates", "changed how many steps an epoch has"),
    ],
)
def test_anybody_elses_are_found_out(name, what, own):
    done = train(own, *SMALL, f"+callbacks.it._target_=own.{name}")
    assert done.process.exitcode == 1
    assert f"error: callbacks: one has {what} before epoch 2" in done.text


TORCH = ["schedule=torch", "schedule.scheduler._target_=torch.optim.lr_scheduler.OneCycleLR"]


@pytest.mark.parametrize(("steps", "status"), [(36, 0), (37, 0), (35, 1), (3, 1)])
@pytest.mark.parametrize("optimizer", ["adam", "momentum"])
def test_a_scheduler_that_ends_too_early_is_refused_before_anything_is_trained(steps, status, optimizer, tmp_path):
    more = ["+schedule.scheduler.max_lr=0.01", f"+schedule.scheduler.total_steps={steps}", f"optimizer={optimizer}"]
    done = train(tmp_path, *SMALL, *TORCH, *more, "trainer.max_epochs=2")
    assert done.process.exitcode == status, done.text
    if status:
        (line,) = done.text.splitlines()
        assert line.startswith(f"error: schedule.scheduler: Tried to step {steps + 1} times")
