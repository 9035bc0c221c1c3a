"""Runs of several processes, stopped by a signal that only one of them may have got."""

import os
import signal
from pathlib import Path

import pytest
from support import programs
from support.clusters import descendants
from support.runs import SMALL, StoppedAt, assert_continuous, begin, go_on, the_run

from lrdecay.records.record import read
from lrdecay.training.checkpoints import read_checkpoint

TWO = ["trainer=ddp_cpu", "process.threads=1"]  # 18 steps in an epoch, each with half of the batch


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_a_checkpoint_and_the_run_goes_on(tmp_path, number):
    begun = begin(tmp_path, *TWO, prepare=StoppedAt(13, number=number))
    assert begun.wait() == 128 + number, begun.text
    assert f"interrupted by {signal.Signals(number).name} → " in begun.text
    assert "resume=outputs/runs/" in begun.text
    assert "Traceback" not in begun.text
    run = the_run(tmp_path)
    assert read(run / "record.json").outcome.status == "interrupted"
    step = read_checkpoint(run / "checkpoints/last.ckpt")["global_step"]
    assert 14 <= step <= 16, "within the epoch, and soon"
    done = go_on(tmp_path)
    assert done.process.exitcode == 0, done.text
    record = read(run / "record.json")
    assert record.outcome.status == "completed"
    assert record.progress.resumed == [{"step": step}]
    assert_continuous(run)


def test_a_signal_in_the_last_validation_of_one_of_them(tmp_path):
    begun = begin(tmp_path, *TWO, prepare=StoppedAt(54, "validation_step"))
    assert begun.wait(100) == 143, begun.text
    assert "Traceback" not in begun.text
    done = go_on(tmp_path)
    assert done.process.exitcode == 0, done.text
    record = read(the_run(tmp_path) / "record.json")
    assert record.outcome.status == "completed"
    assert record.progress.resumed == [{"step": 54}]


def test_a_signal_that_only_another_process_gets(tmp_path):
    begun = begin(tmp_path, *TWO, "trainer.max_epochs=100000")
    begun.until(lambda: list(tmp_path.glob("outputs/runs/*/checkpoints/last.ckpt")), every=0.2)
    (other,) = [child for child in descendants(begun.process.pid)[1:] if trains(child)]
    os.kill(other, signal.SIGTERM)
    assert begun.wait(60) == 143, begun.text
    assert read(the_run(tmp_path) / "record.json").outcome.status == "interrupted"
    assert "Traceback" not in begun.text


def trains(process: int) -> bool:
    return "train.py" in Path(f"/proc/{process}/cmdline").read_text()


def test_jobs_of_a_sweep_end_so_too(tmp_path):
    sweep = programs.run(
        "train.py", "-m", *SMALL, *TWO, "seed=1,2", "name=it", cwd=tmp_path, prepare=StoppedAt(13)
    )  # fmt: skip
    assert sweep.process.exitcode == 143, sweep.text
    again = programs.run("train.py", "-m", *SMALL, *TWO, "seed=1,2", "name=it", cwd=tmp_path)
    assert again.process.exitcode == 0, again.text
    resumed = [read(file).progress.resumed for file in sorted(tmp_path.glob("outputs/sweeps/it/*/record.json"))]
    assert resumed[0][0]["step"] > 9
    assert resumed[1] == []
