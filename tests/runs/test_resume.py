"""Runs that are stopped go on to the same end, to the last bit."""

import math
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from support import programs
from support.records import edit
from support.runs import OnAMachine, StoppedAt, assert_continuous, assert_same, begin, ends, go_on, the_run

from lrdecay.records.provenance import code
from lrdecay.records.record import read
from lrdecay.training.checkpoints import read_checkpoint

CASES = {
    "cosine": ["schedule=cosine"],
    "dropout and augmentation": ["model.dropout=0.3", "data.shift=2", "schedule=step"],
    "accumulation": ["trainer.accumulate_grad_batches=4", "schedule=cosine", "data.batch_size=16"],
    "plateau": ["schedule=plateau", "scale.patience=0", "scale.threshold=0.5"],
    "greedy": ["scale=greedy", "scale.metric=train/loss"],
    "one-cycle momentum": ["schedule=onecycle", "optimizer=momentum"],
    "adam's momentum": ["schedule=onecycle", "optimizer=adam"],
    "several validations an epoch": ["schedule=cosine", "+trainer.val_check_interval=5"],
    "torch's plateau": [
        "schedule=torch",
        "schedule.scheduler._target_=torch.optim.lr_scheduler.ReduceLROnPlateau",
        "+schedule.scheduler.patience=0",
        "+schedule.scheduler.threshold=0.5",
        "schedule.monitor=val/loss",
        "schedule.interval=epoch",
    ],
    "schedule-free": ["optimizer=schedule_free_adamw"],
    "constant weight decay": ["schedule=cosine", "schedule.weight_decay=constant", "optimizer=adamw"],
    "max_steps": ["schedule=linear", "trainer.max_steps=40"],
    "float16 autocast": ["schedule=cosine", "trainer.precision=bf16-mixed"],
    "a tally over epochs": ["trainer.log_every_n_steps=0"],
    "images of the seed's own": ["data.resample=true", "seed=3"],
    "parameter groups": [
        "optimizer=adamw",
        "optimizer.groups=[{match: layers.1, lr: 0.1}, {match: bias, weight_decay: 0}]",
    ],
}


@pytest.mark.parametrize("case", CASES)
def test_goes_on_bit_for_bit(case, tmp_path):
    """Stopped in mid-epoch, then killed in the next, then during validation."""
    reference, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert begin(reference, *CASES[case]).wait() == 0
    assert begin(stopped, *CASES[case], prepare=StoppedAt(7)).wait() == 143
    run = the_run(stopped)
    step = read_checkpoint(run / "checkpoints/last.ckpt")["global_step"]
    assert step in (7, 8)
    assert go_on(stopped, prepare=StoppedAt(25, number=signal.SIGKILL)).process.exitcode == -signal.SIGKILL
    # With several validations an epoch there is none after its last step.
    ended = 0 if case == "several validations an epoch" else 143
    assert go_on(stopped, prepare=StoppedAt(36, "validation_step")).process.exitcode == ended
    done = go_on(stopped)
    assert done.process.exitcode == 0, done.text
    assert_same(run, the_run(reference))
    assert_continuous(run)
    assert [row["step"] for row in read(run / "record.json").progress.resumed][:2] == [step, 18]


def test_a_text_goes_on_bit_for_bit(tmp_path):
    """Windows are cut elsewhere in each epoch, and the transformer drops some of what it adds."""
    (tmp_path / "book.txt").write_text("All the world's a stage, and all the men and women merely players. " * 60)
    arguments = [
        "data=text", f"data.path={tmp_path / 'book.txt'}", "data.length=16", "data.batch_size=16", "model=transformer",
        "model.width=16", "model.dropout=0.2", "optimizer=adamw", "trainer.max_epochs=3", "trainer.log_every_n_steps=5",
    ]  # fmt: skip
    reference, stopped = tmp_path / "whole", tmp_path / "stopped"
    for folder, prepare in ((reference, None), (stopped, StoppedAt(20))):
        folder.mkdir()
        status = programs.start("train.py", *arguments, cwd=folder, prepare=prepare).wait()
        assert status == (143 if prepare else 0)
    assert go_on(stopped).process.exitcode == 0
    assert_same(the_run(stopped), the_run(reference))
    assert read(the_run(stopped) / "record.json").plan.data.startswith("book ")


SHAPES = {
    "points of a file": ["schedule=table", "schedule.csv=points.csv", "schedule.between=monotone"],
    "formula": ["schedule=table", "schedule.expression='(1 - p)**2 if p < 0.5 else 0.25'"],
    "join": ["schedule=join", "schedule@schedule.first=rex", "schedule.first.final=0.3", "schedule.at=40%"],
}


@pytest.mark.parametrize("arguments", SHAPES.values(), ids=SHAPES)
def test_a_shape_of_ones_own_goes_on_bit_for_bit(arguments, tmp_path):
    """The points of a file are those that it had when the run began, wherever it is now."""
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "points.csv").write_text("step,lr\n0,1\n30,0.7\n100,0\n")
    reference, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert begin(reference, *arguments).wait() == 0
    assert begin(stopped, *arguments, prepare=StoppedAt(20)).wait() == 143
    (stopped / "points.csv").unlink()
    assert go_on(stopped).process.exitcode == 0
    assert_same(the_run(stopped), the_run(reference))
    rates = dict(read(the_run(stopped) / "record.json").progress.rates)
    assert rates[max(rates)] < 0.3 * rates[0]


@pytest.mark.parametrize("onednn", [True, False])
def test_on_another_machine_dense_layers_are_computed_as_before(onednn, tmp_path):
    large = ["model.hidden=[256]", "trainer.max_epochs=1"]
    reference, moved = tmp_path / "whole", tmp_path / "moved"
    assert begin(reference, *large, prepare=OnAMachine(onednn)).wait() == 0
    assert begin(moved, *large, prepare=OnAMachine(onednn, step=7)).wait() == 143
    assert go_on(moved, prepare=OnAMachine(not onednn)).process.exitcode == 0
    assert_same(the_run(moved), the_run(reference))
    plan = read(the_run(moved) / "record.json").plan
    assert plan.config["process"]["dense"] == ("onednn" if onednn else "torch")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("step", [0, 16, 17, 18, 53])
def test_a_signal_at_any_step_loses_nothing(step, number, tmp_path):
    """The first step, either side of an epoch's end, the last."""
    reference, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert begin(reference, "schedule=cosine").wait() == 0
    program = begin(stopped, "schedule=cosine", prepare=StoppedAt(step, number=number))
    assert program.wait() == 128 + number
    run = the_run(stopped)
    record = read(run / "record.json")
    assert record.outcome.status == "interrupted"
    assert f"interrupted by {number.name} → {run.relative_to(stopped)}; resume=" in program.text
    assert read_checkpoint(run / "checkpoints/last.ckpt")["global_step"] == step + 1
    assert go_on(stopped).process.exitcode == 0
    assert_same(run, the_run(reference))


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt", "record.json", "metrics.csv"])
@pytest.mark.parametrize("after", [False, True], ids=["half written", "just replaced"])
def test_killed_while_it_writes(name, after, tmp_path):
    reference, stopped = tmp_path / "whole", tmp_path / "stopped"
    often = "callbacks.checkpoints.every_n_steps=4"
    assert begin(reference, often).wait() == 0
    times = {"record.json": 4, "metrics.csv": 1}.get(name, 2)
    program = begin(stopped, often, prepare=programs.KilledIn(name, times, after))
    assert program.wait() == 128 + signal.SIGKILL
    assert go_on(stopped).process.exitcode == 0
    assert_same(the_run(stopped), the_run(reference))


def test_killed_at_random_moments(tmp_path):
    """Ten of them, over the whole of a run from the first record on."""
    often = "callbacks.checkpoints.every_n_steps=4"
    reference = tmp_path / "whole"
    assert begin(reference, often).wait() == 0
    moments, killed, longest = random.Random(5), 0, 0.0
    for number in range(50):
        stopped = tmp_path / str(number)
        program = begin(stopped, often)
        program.until(lambda stopped=stopped: list(stopped.glob("outputs/runs/*/record.json")), every=0.001)
        began = time.monotonic()
        if number:
            time.sleep(moments.uniform(0, longest))
            program.process.kill()
        ended = program.wait()
        longest = longest or time.monotonic() - began
        killed += ended == 128 + signal.SIGKILL
        assert go_on(stopped).process.exitcode == 0
        assert_same(the_run(stopped), the_run(reference))
        if killed == 10:
            return
    pytest.fail(f"only {killed} runs were killed before their end")


@pytest.fixture(scope="module")
def complete(tmp_path_factory) -> Path:
    """A run of three epochs that is complete; not to be changed."""
    folder = tmp_path_factory.mktemp("complete")
    assert begin(folder, "schedule=cosine").wait() == 0
    return the_run(folder)


def resume(run: Path, *arguments: str, **options) -> programs.Program:
    return programs.run("train.py", f"resume={run}", *arguments, cwd=run.parents[2], **options)


@pytest.mark.parametrize(
    ("override", "refusal"),
    [
        ("schedule=step", "schedule=step, which was cosine"),
        ("optimizer=sgd", "optimizer=sgd, which was adam"),
        ("optimizer.lr=0.1", "optimizer.lr=0.1, which was 0.001"),
        ("schedule.warmup=5", "schedule.warmup=5, which was 0"),
        ("trainer.max_epochs=4", "trainer.max_epochs=4, which was 3"),
        ("data=mnist", "data=mnist, which was digits"),
        ("seed=2", "seed=2, which was 1"),
        ("+model.new=1", "model.new=1, which was None"),
    ],
)
def test_refuses_what_would_not_be_the_same_run(override, refusal, complete):
    before = (complete / "record.json").read_bytes()
    done = resume(complete, override)
    assert done.process.exitcode == 1
    refused = f"must be resumed as it began, without {refusal}. resume_mode=extend"
    assert done.text.startswith(f"error: resume={complete}: {refused}")
    assert (complete / "record.json").read_bytes() == before


def test_a_complete_run_is_left_alone(complete):
    before = {file: file.stat().st_mtime for file in complete.rglob("*") if file.is_file() and file.name != "train.log"}
    done = resume(complete, "schedule=cosine", "+callbacks.progress.every=1")
    assert done.process.exitcode == 0
    assert done.text.startswith("already complete: digits: test/acc")
    assert before == {file: file.stat().st_mtime for file in before}


def test_extends_a_run_whose_folder_has_moved(complete, tmp_path):
    run = tmp_path / "elsewhere" / "a=b, c"
    shutil.copytree(complete, run)
    done = programs.run("train.py", f"resume='{run}'", "resume_mode=extend", "trainer.max_epochs=5", cwd=tmp_path)
    assert done.process.exitcode == 0, done.text
    record, before = read(run / "record.json"), read(complete / "record.json")
    assert record.progress.epochs[:3] == before.progress.epochs
    assert [row["epoch"] for row in record.progress.epochs] == [0, 1, 2, 3, 4]
    assert [record.progress.resumed[0][key] for key in ("mode", "total_steps", "step")] == ["extend", 54, 54]
    assert record.result_hash != before.result_hash, "it is not what 5 epochs would have been from the start"
    # The cosine of 90 steps, at step 54 and 89.
    rates = dict(record.progress.rates)
    assert rates[54] == pytest.approx(0.0005 * (1 + math.cos(math.pi * 54 / 90)))
    assert rates[89] == pytest.approx(0.0005 * (1 + math.cos(math.pi * 89 / 90)))
    assert_continuous(run)
    again = programs.run("train.py", f"resume='{run}'", cwd=tmp_path)
    assert again.text.startswith("already complete"), "the configuration is now the longer one"


def test_an_extension_can_be_stopped_too(complete, tmp_path):
    for name in ("whole", "stopped"):
        shutil.copytree(complete.parents[2], tmp_path / name)
    longer = ["resume_mode=extend", "trainer.max_epochs=4"]
    assert go_on(tmp_path / "whole", *longer).process.exitcode == 0
    assert go_on(tmp_path / "stopped", *longer, prepare=StoppedAt(56, number=signal.SIGKILL)).process.exitcode < 0
    assert go_on(tmp_path / "stopped", prepare=StoppedAt(60)).process.exitcode == 143
    assert go_on(tmp_path / "stopped").process.exitcode == 0
    stopped, whole = ends(the_run(tmp_path / "stopped")), ends(the_run(tmp_path / "whole"))
    assert stopped["checkpoint"] == whole["checkpoint"]
    assert stopped["metrics.csv"] == whole["metrics.csv"]


@pytest.mark.parametrize("length", ["trainer.max_epochs=3", "trainer.max_epochs=2", "trainer.max_steps=20"])
def test_an_extension_must_be_longer(length, complete):
    done = resume(complete, "resume_mode=extend", length)
    assert done.process.exitcode == 1
    assert "error: resume_mode=extend: must be longer than the run's 54 steps, and trainer." in done.text


def test_begins_a_new_run_with_the_weights(complete, tmp_path):
    done = programs.run(
        "train.py", f"resume={complete}", "resume_mode=weights", "schedule=step", "optimizer.lr=0.01",
        "trainer.max_epochs=1", cwd=tmp_path, prepare=StoppedAt(7),
    )  # fmt: skip
    assert done.process.exitcode == 143, done.text
    run = the_run(tmp_path)
    assert run.name.endswith("_step")
    assert go_on(tmp_path).process.exitcode == 0, "the new one has a configuration of its own"
    record = read(run / "record.json")
    assert [record.plan.config["optimizer"]["lr"], record.plan.config["trainer"]["max_epochs"]] == [0.01, 1]
    assert record.plan.config["model"]["hidden"] == [16], "the model is that of the run"
    assert record.progress.epochs[0]["train/loss"] < read(complete / "record.json").progress.epochs[0]["train/loss"] / 2
    assert record.progress.rates[0] == (0, 0.01)


def test_the_schedule_of_another_quantity_is_no_other_schedule_of_the_rate(complete, tmp_path):
    of_weight_decay = "+schedule@scheduled.optimizer.weight_decay=linear"
    refused = resume(complete, of_weight_decay)
    assert refused.process.exitcode == 1
    assert "without schedule@scheduled.optimizer.weight_decay=linear, which was None" in refused.text
    done = programs.run(
        "train.py", f"resume={complete}", "resume_mode=weights", "schedule=step", of_weight_decay,
        "optimizer=adamw", "trainer.max_epochs=1", cwd=tmp_path, prepare=StoppedAt(7),
    )  # fmt: skip
    assert done.process.exitcode == 143, done.text
    config = read(the_run(tmp_path) / "record.json").plan.config
    assert config["schedule"]["_target_"].endswith(".Step")
    assert config["scheduled"]["optimizer"]["weight_decay"]["_target_"].endswith(".Polynomial"), config["scheduled"]


def test_refuses_weights_of_another_model(complete, tmp_path):
    done = programs.run("train.py", f"resume={complete}", "resume_mode=weights", "model.hidden=[17]", cwd=tmp_path)
    assert done.process.exitcode == 1
    assert "error: model: does not fit the weights of" in done.text


def test_two_processes_cannot_resume_one_run(tmp_path):
    assert begin(tmp_path, "trainer.max_epochs=50", prepare=StoppedAt(20)).wait() == 143
    both = [programs.start("train.py", f"resume={the_run(tmp_path)}", cwd=tmp_path) for _ in range(2)]
    ended = sorted((program.wait(), program.text) for program in both)
    assert [status for status, _ in ended] == [0, 1]
    assert f"error: {the_run(tmp_path)}: in use by another process" in ended[1][1]
    assert_continuous(the_run(tmp_path))


@pytest.mark.parametrize("every", ["every_n_steps=4", "every_minutes=0.00001"])
def test_checkpoints_between_epochs(every, tmp_path):
    begin(tmp_path, f"callbacks.checkpoints.{every}", prepare=StoppedAt(25, number=signal.SIGKILL)).wait()
    step = read_checkpoint(the_run(tmp_path) / "checkpoints/last.ckpt")["global_step"]
    assert step == (22 if "steps" in every else 25)
    assert go_on(tmp_path).process.exitcode == 0
    assert_continuous(the_run(tmp_path))


def test_a_slow_step_does_not_hold_up_the_end(tmp_path):
    """A batch that would take a minute is broken off; the last checkpoint is the one before."""
    program = begin(tmp_path, prepare=SlowAt(20))
    program.until((tmp_path / "slow").exists)
    began = time.monotonic()
    program.signal(signal.SIGTERM)
    assert program.wait() == 143
    assert 5 < time.monotonic() - began < 10
    assert read_checkpoint(the_run(tmp_path) / "checkpoints/last.ckpt")["global_step"] == 18
    assert go_on(tmp_path).process.exitcode == 0


class SlowAt(StoppedAt):
    """Sleeps for a minute at a step."""

    def __call__(self) -> None:
        from lrdecay.training.module import Classifier

        original = Classifier.training_step

        def slow(module, *arguments):
            if module.trainer.global_step == self.step:
                Path("slow").touch()
                time.sleep(60)
            return original(module, *arguments)

        Classifier.training_step = slow


def test_other_code_is_said_and_noted(tmp_path):
    assert begin(tmp_path, prepare=StoppedAt(20)).wait() == 143
    file = the_run(tmp_path) / "record.json"
    edit(file, code="another")
    done = go_on(tmp_path)
    assert done.process.exitcode == 0
    assert "WARNING: " in done.text
    assert "the code has changed since the run began" in done.text
    (row,) = read(file).progress.resumed
    assert row["code"] == code()


@pytest.mark.parametrize("conflict", ["resume_mode=longer", "resume=nowhere", "-m"])
def test_what_cannot_be_resumed(conflict, complete):
    done = resume(complete, conflict)
    assert done.process.exitcode == 1
    assert done.text.startswith("error: resume")


def test_another_data_set_is_refused(mnist_root, tmp_path):
    """That data=auto has found MNIST meanwhile would make another run of it."""
    assert begin(tmp_path, "data=auto", "data.download=false", "data.root=none", prepare=StoppedAt(7)).wait() == 143
    done = go_on(tmp_path, f"data.root={mnist_root}")
    assert done.process.exitcode == 1
    assert "error: data: the run began with digits, but its configuration now gives mnist" in done.text
    assert go_on(tmp_path).process.exitcode == 0


@pytest.mark.parametrize("mistake", ["trainer.precision=7", "trainer.max_epochs=abc", "+trainer.nonsense=1"])
def test_an_extension_that_fails_leaves_the_run_as_it_was(mistake, complete, tmp_path):
    run = Path(shutil.copytree(complete, tmp_path / "run"))
    before = (run / "record.json").read_bytes()
    longer = ["resume_mode=extend", "trainer.max_epochs=4"]
    done = programs.run("train.py", f"resume={run}", *longer, mistake, cwd=tmp_path)
    assert done.process.exitcode == 1
    assert "Traceback" not in done.text
    assert (run / "record.json").read_bytes() == before
    assert programs.run("train.py", f"resume={run}", *longer, cwd=tmp_path).process.exitcode == 0


def test_nothing_is_extended_without_a_checkpoint(complete, tmp_path):
    run = Path(shutil.copytree(complete, tmp_path / "run"))
    (run / "checkpoints/last.ckpt").unlink()
    metrics = (run / "metrics.csv").read_bytes()
    done = programs.run("train.py", f"resume={run}", "resume_mode=extend", "trainer.max_epochs=4", cwd=tmp_path)
    assert done.process.exitcode == 1
    assert "last.ckpt: no such file, so there is nothing to extend" in done.text
    assert (run / "metrics.csv").read_bytes() == metrics


def test_an_end_that_early_stopping_has_decided_stays_decided(tmp_path):
    """Killed while it is tested, when all that is left is to test it."""
    early = ["callbacks=early_stopping", "callbacks.early_stopping.patience=1", "+callbacks.early_stopping.min_delta=1"]
    reference, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert begin(reference, *early, "trainer.max_epochs=9").wait() == 0
    assert begin(stopped, *early, "trainer.max_epochs=9", prepare=killed_in_test).wait() == 128 + signal.SIGKILL
    assert go_on(stopped).process.exitcode == 0
    assert len(read(the_run(reference) / "record.json").progress.epochs) == 2
    assert_same(the_run(stopped), the_run(reference))


def killed_in_test() -> None:
    from lrdecay.training.module import Classifier

    Classifier.test_step = lambda *_: os.kill(os.getpid(), signal.SIGKILL)


def test_links_are_not_written_through(complete, tmp_path):
    run = Path(shutil.copytree(complete, tmp_path / "run"))
    (tmp_path / "mine").write_text("mine")
    (run / "train.log").unlink(missing_ok=True)
    (run / "train.log").symlink_to(tmp_path / "mine")
    done = programs.run("train.py", f"resume={run}", cwd=tmp_path)
    assert done.process.exitcode == 1
    assert "train.log: a symbolic link, through which something would be written; to be trusted only if" in done.text
    assert (tmp_path / "mine").read_text() == "mine"
