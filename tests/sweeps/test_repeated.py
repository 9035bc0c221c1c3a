"""Sweeps that are stopped, repeated, extended, or started twice."""

import os
import re
import signal
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from support import programs
from support.records import edit
from support.runs import OnAMachine, StoppedAt, assert_same

from lrdecay.records.record import read

SMALL = ["data=digits", "model=mlp", "model.hidden=[16]", "trainer.max_epochs=2", "trainer.log_every_n_steps=5"]
LAUNCHERS = {"in series": [], "side by side": ["hydra/launcher=parallel", "hydra.launcher.threads=1"]}


def sweep(folder: Path, *arguments: str, **options) -> programs.Program:
    program = programs.start("train.py", "-m", *SMALL, "name=mine", *arguments, cwd=folder, **options)
    program.wait()
    return program


def runs(folder: Path) -> dict[str, Path]:
    return {file.parent.name: file.parent for file in sorted(folder.glob("outputs/sweeps/mine/*/record.json"))}


class StoppedInJob(StoppedAt):
    """At a step of the job with that seed."""

    def __init__(self, seed: int, *arguments, **options) -> None:
        super().__init__(*arguments, **options)
        self.seed = seed

    def __call__(self) -> None:
        import lrdecay.runs.run

        original = lrdecay.runs.run.fit

        def fit(run):
            if run.config.seed == self.seed:
                StoppedAt.__call__(self)
            original(run)

        lrdecay.runs.run.fit = fit


@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_same_command_goes_on(number, launcher, tmp_path):
    """Interrupted or killed in the second of three jobs; what was complete is left alone."""
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for folder in (whole, stopped):
        folder.mkdir()
    assert sweep(whole, "seed=1,2,3").process.exitcode == 0
    assert sweep(stopped, "seed=1,2,3", prepare=StoppedInJob(2, 25, number=number)).process.exitcode != 0
    complete = runs(stopped)["01_seed-1"] / "record.json"
    first = complete.stat().st_mtime
    assert read(complete).outcome.status == "completed"
    again = sweep(stopped, "seed=1,2,3", *LAUNCHERS[launcher])
    assert again.process.exitcode == 0, again.text
    assert "[1/3] seed=1: test/acc" in again.text
    assert again.text.count("already complete") == 1
    assert "digits: 3 runs in 1 group" in again.text
    assert complete.stat().st_mtime == first
    for run, reference in zip(runs(stopped).values(), runs(whole).values(), strict=True):
        assert_same(run, reference)
    assert read(runs(stopped)["02_seed-2"] / "record.json").progress.resumed == [{"step": 26 if number == 15 else 18}]


def test_more_jobs_and_other_ones(tmp_path):
    """Runs are recognised by what determines their results, not by their number or name."""
    sweep(tmp_path, "seed=1,2")
    more = sweep(tmp_path, "schedule=constant,cosine", "seed=2,3", "trainer.log_every_n_steps=7")
    assert more.process.exitcode == 0, more.text
    assert more.text.count("already complete") == 1
    assert list(runs(tmp_path)) == [
        "01_seed-1", "02_constant_seed-3", "02_seed-2", "03_cosine_seed-2", "04_cosine_seed-3",
    ]  # fmt: skip
    other = sweep(tmp_path, "seed=1,2", "optimizer.lr=0.01")
    assert other.process.exitcode == 0, other.text
    warning = "warning: 01_seed-1 already contains a different run, so this one is 01_seed-1-2: "
    assert warning + "optimizer.lr=0.01, which was 0.001" in other.text
    assert "digits: 7 runs in 3 groups" in other.text


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_jobs_keep_their_numbers_where_others_are_complete(launcher, tmp_path):
    """``${hydra:job.num}`` may be in a configuration, and is to mean the same when the sweep is repeated."""
    sweep(tmp_path, "seed=2")
    more = sweep(tmp_path, "seed=1,2,3", *LAUNCHERS[launcher])
    assert more.process.exitcode == 0, more.text
    assert re.findall(r"^\[\d/3\] seed=\d$", more.text, re.MULTILINE) == ["[1/3] seed=1", "[3/3] seed=3"]
    numbers = {OmegaConf.load(run / ".hydra/hydra.yaml").hydra.job.num for run in runs(tmp_path).values()}
    assert numbers == {0, 2}
    assert list(runs(tmp_path)) == ["01_constant", "01_seed-1", "03_seed-3"]


def test_new_runs_from_the_weights_of_one_are_recognised(tmp_path):
    """They train with its configuration, and are named by its schedule."""
    programs.run("train.py", *SMALL, "schedule=step", cwd=tmp_path)
    source = next(tmp_path.glob("outputs/runs/*_step")).relative_to(tmp_path)
    words = ["-m", f"resume={source}", "resume_mode=weights", "name=mine"]
    first = programs.run("train.py", *words, cwd=tmp_path)
    more = programs.run("train.py", *words, "seed=1,2", cwd=tmp_path)
    assert first.process.exitcode == more.process.exitcode == 0, first.text + more.text
    assert more.text.count("already complete") == 1
    assert list(runs(tmp_path)) == ["01_step", "02_seed-2"]
    assert "digits: 2 runs in 1 group" in more.text


def test_another_data_set_is_another_run(mnist_root, tmp_path):
    sweep(tmp_path, "seed=1")
    few = ["data=mnist", f"data.root={mnist_root}", "data.train_size=128", "data.val_size=128"]
    other = sweep(tmp_path, "seed=1", *few)
    assert other.process.exitcode == 0, other.text
    assert "already complete" not in other.text
    assert list(runs(tmp_path)) == ["01_constant", "01_constant-2"]
    assert "mnist: 1 run in 1 group" in other.text


def test_a_job_given_twice_has_two_folders(tmp_path):
    sweep(tmp_path, "seed=1")
    twice = sweep(tmp_path, "seed=1,1", *LAUNCHERS["side by side"])
    assert twice.process.exitcode == 0, twice.text
    assert twice.text.count("already complete") == 1
    assert len(runs(tmp_path)) == 2


def test_other_code_is_said(tmp_path):
    sweep(tmp_path, "seed=1")
    (run,) = runs(tmp_path).values()
    edit(run / "record.json", code="another")
    assert "has 1 completed run from a different version of the code; they are kept" in sweep(tmp_path, "seed=1").text


def test_a_damaged_record_begins_anew_and_takes_nothing_of_what_is_there(tmp_path):
    """Its checkpoint could be that of any other run."""
    sweep(tmp_path, "seed=1")
    (run,) = runs(tmp_path).values()
    (run / "record.json").write_text("{")
    stopped = sweep(tmp_path, "seed=2", prepare=StoppedAt(7, number=signal.SIGKILL))
    assert "record.json: not a complete record" in stopped.text
    (run,) = runs(tmp_path).values()
    assert sweep(tmp_path, "seed=2").process.exitcode == 0
    assert read(run / "record.json").progress.resumed == [{"step": 0}]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_some_fail_and_some_diverge(launcher, tmp_path):
    """The others have their results, the record of each tells its own end, and the status is not 0."""
    jobs = ["seed=1,2", "optimizer=sgd", "optimizer.lr=0.1,1e30", "data.batch_size=64,10000", *LAUNCHERS[launcher]]
    done = sweep(tmp_path, *jobs)
    assert done.process.exitcode == 1
    ended = [read(run / "record.json").outcome.status for run in runs(tmp_path).values()]
    assert sorted(ended) == ["completed"] * 2 + ["diverged"] * 2 + ["failed"] * 4
    for run in runs(tmp_path).values():
        record = read(run / "record.json")
        assert (record.outcome.status == "completed") == (record.outcome.traceback is None)
    assert done.text.rstrip().endswith("error: 6 of 8 jobs did not complete")
    assert done.text.count(": failed: data.batch_size=10000: must be") >= 4
    again = sweep(tmp_path, *jobs)
    assert again.text.count("already complete") == 4, "what diverged would diverge again"
    assert again.process.exitcode == 1


def test_started_twice_at_once(tmp_path):
    """The second is refused, and harms nothing."""
    both = [programs.start("train.py", "-m", *SMALL, "name=mine", "seed=1,2", cwd=tmp_path) for _ in range(2)]
    ended = sorted((program.wait(), program.text) for program in both)
    assert [status for status, _ in ended] == [0, 1]
    assert "outputs/sweeps/mine: in use by another process" in ended[1][1]
    assert [read(run / "record.json").outcome.status for run in runs(tmp_path).values()] == ["completed"] * 2


def test_the_order_of_jobs_does_not_matter(tmp_path):
    for name in ("there", "back"):
        (tmp_path / name).mkdir()
    sweep(tmp_path / "there", "model.dropout=0.2", "schedule=cosine,step", "seed=1,2")
    sweep(tmp_path / "back", "model.dropout=0.2", "schedule=step,cosine", "seed=2,1", *LAUNCHERS["side by side"])
    by_hash = [
        {read(run / "record.json").result_hash: run for run in runs(tmp_path / n).values()} for n in ("there", "back")
    ]
    assert len(by_hash[0]) == 4
    assert by_hash[0].keys() == by_hash[1].keys()
    for key, run in by_hash[0].items():
        assert_same(run, by_hash[1][key])


def test_sigterm_ends_a_parallel_sweep_with_its_jobs(tmp_path):
    program = programs.start(
        "train.py",
        "-m",
        *SMALL,
        "name=mine",
        "seed=1,2",
        "trainer.max_epochs=1000",
        *LAUNCHERS["side by side"],
        cwd=tmp_path,
    )
    while len([run for run in runs(tmp_path).values() if list(run.glob("checkpoints/last.ckpt"))]) < 2:
        time.sleep(0.05)
    began = time.monotonic()
    os.kill(program.process.pid, signal.SIGTERM)
    assert program.wait() == 143
    assert time.monotonic() - began < 10
    assert [read(run / "record.json").outcome.status for run in runs(tmp_path).values()] == ["interrupted"] * 2


@pytest.mark.parametrize("onednn", [True, False])
def test_a_sweep_computes_dense_layers_as_it_began_on_whatever_machine(onednn, tmp_path):
    sweep(tmp_path, "seed=1", prepare=OnAMachine(onednn))
    more = sweep(tmp_path, "seed=1,2", prepare=OnAMachine(not onednn))
    assert more.process.exitcode == 0, more.text
    by = "onednn" if onednn else "torch"
    assert f"process.dense={by}, as in the runs that are there\n2 jobs → " in more.text
    assert more.text.count("already complete") == 1
    assert {read(run / "record.json").plan.config["process"]["dense"] for run in runs(tmp_path).values()} == {by}
    other = sweep(tmp_path, "seed=1,2", f"process.dense={'torch' if onednn else 'onednn'}")
    assert "digits: 4 runs in 2 groups" in other.text
