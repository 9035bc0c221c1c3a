"""``duration`` and ``ssr``: how long a run is, in any unit; times are measured, and kept when it is resumed."""

import signal

import pytest
from support.programs import ROOT, run, run_apart, start

from lrdecay.config.compose import compose_all
from lrdecay.config.preview import rate_curve
from lrdecay.records.record import Record, find, read
from lrdecay.runs.pace import _validations, measured_pace
from lrdecay.training.module import Classifier

SMALL = ["data=digits", "data.train_size=640", "model=mlp"]  # 10 steps an epoch


def record_in(folder) -> Record:
    (file,) = find([folder / "outputs/runs"])
    return read(file)


@pytest.mark.parametrize(
    ("words", "steps"),
    [
        (["duration=3ep"], 30),
        (["duration=25"], 25),
        (["duration=1_280samples"], 20),
        (["duration=1_280samples", "trainer.accumulate_grad_batches=2"], 10),
        (["duration=1.5ep", "trainer.max_epochs=-1"], 15),
        (["ssr=0.5", "trainer.max_epochs=3"], 15),
        (["duration=2ep", "ssr=2"], 40),
        (["duration=2ep", "trainer.fast_dev_run=3"], 3),
    ],
)
def test_the_run_is_as_long(tmp_path, words, steps):
    done = run_apart("train.py", *SMALL, "schedule=cosine", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = record_in(tmp_path)
    assert (record.plan.total_steps, record.progress.steps) == (steps, steps)
    assert record.outcome.ended_by is None
    previewed = run_apart("scripts/preview.py", *SMALL, "schedule=cosine", *words, cwd=tmp_path)
    assert f"\n{steps} steps, " in previewed.stdout


def test_characters_are_tokens(tmp_path, shakespeare_root):
    words = ["data=shakespeare", f"data.root={shakespeare_root}", "model=transformer", "model.width=16"]
    words += ["data.train_size=20000", "data.val_size=5000", "duration=20_480tokens", "data.batch_size=32"]
    done = run_apart("train.py", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert record_in(tmp_path).plan.total_steps == 10


def test_the_schedule_is_stretched_with_the_run(tmp_path):
    words = ["schedule=step", "schedule.every=2ep", "trainer.max_epochs=4", "ssr=0.5", "trainer.log_every_n_steps=1"]
    run_apart("train.py", *SMALL, *words, cwd=tmp_path)
    rates = dict(record_in(tmp_path).progress.rates)
    assert rates[9] == pytest.approx(1e-3)
    assert rates[10] == pytest.approx(1e-4)


def test_a_time_is_measured_said_and_kept_when_it_is_resumed(tmp_path):
    words = [*SMALL, "schedule=cosine", "schedule.warmup=1s", "duration=6s", "hydra.run.dir=outputs/runs/timed"]
    program = start("train.py", *words, cwd=tmp_path, apart=True)
    folder = tmp_path / "outputs/runs/timed"
    program.until((folder / "checkpoints/last.ckpt").exists)
    program.signal(signal.SIGTERM)
    assert program.wait(60) == 143
    stopped = read(folder / "record.json")
    assert stopped.plan.seconds_per_step > 0
    assert stopped.plan.total_steps == pytest.approx(6 / stopped.plan.seconds_per_step, abs=1)
    assert f"measured at {stopped.plan.seconds_per_step:.3g} s a step" in program.stdout
    again = run_apart("train.py", "resume=outputs/runs/timed", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    resumed = read(folder / "record.json")
    assert resumed.outcome.status == "completed"
    assert resumed.plan.seconds_per_step == stopped.plan.seconds_per_step
    assert resumed.progress.steps == stopped.plan.total_steps


def test_validation_is_counted_once(monkeypatch, tmp_path):
    """Steps are timed without it, and it is timed by itself."""
    ((_, config),) = compose_all(ROOT / "conf", SMALL)
    seen: list[str] = []
    start = Classifier.on_validation_start
    monkeypatch.setattr(
        Classifier, "on_validation_start", lambda self: seen.append(self.trainer.state.fn) or start(self)
    )
    monkeypatch.setattr("lrdecay.runs.pace.ENOUGH", 0.1)
    assert measured_pace(config) > 0
    assert seen == ["validate"]


@pytest.mark.parametrize(
    ("words", "validations"),
    [
        ([], 1 / 10),
        (["++trainer.check_val_every_n_epoch=4"], 1 / 40),
        (["++trainer.val_check_interval=0.25"], 4 / 10),
        (["++trainer.val_check_interval=5"], 1 / 5),
        (["++trainer.limit_val_batches=0"], 0),
    ],
)
def test_as_many_validations_as_there_will_be(words, validations):
    ((_, config),) = compose_all(ROOT / "conf", [*SMALL, *words])
    assert _validations(config, 10) == pytest.approx(validations)


def test_jobs_of_a_sweep_are_as_long_as_each_other(tmp_path):
    words = [
        "-m",
        *SMALL,
        "schedule=constant,cosine",
        "seed=1,2",
        "duration=1s",
        "name=timed",
        "hydra/launcher=parallel",
    ]
    done = run_apart("train.py", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    records = [read(file) for file in find([tmp_path / "outputs/sweeps/timed"])]
    assert len(records) == 4
    assert len({record.plan.total_steps for record in records}) == 1


def test_what_the_trainer_would_do_makes_no_other_run(tmp_path):
    words = [*SMALL, "hydra.run.dir=outputs/runs/a"]
    assert run("train.py", *words, "duration=20", cwd=tmp_path).returncode == 0
    again = run_apart("train.py", *words, "duration=20steps", "trainer.max_epochs=7", cwd=tmp_path)
    assert "already complete" in again.stdout


def test_a_preview_draws_what_is_trained():
    words = [*SMALL, "schedule=cosine", "schedule.warmup=640samples", "trainer.max_epochs=4", "ssr=2"]
    ((_, config),) = compose_all(ROOT / "conf", words)
    curve = rate_curve("a", config)
    assert curve.rates.argmax() == 20
    assert len(curve.rates) == 80


def test_it_is_extended_by_a_longer_duration(tmp_path):
    words = [*SMALL, "schedule=cosine", "duration=2ep", "hydra.run.dir=outputs/runs/a"]
    assert run("train.py", *words, cwd=tmp_path).returncode == 0
    extend = ["resume=outputs/runs/a", "resume_mode=extend"]
    shorter = run_apart("train.py", *extend, "duration=15", cwd=tmp_path)
    assert "must be longer than the run's 20 steps, and duration=15 is 15" in shorter.stderr
    longer = run_apart("train.py", *extend, "duration=3ep", cwd=tmp_path)
    assert longer.returncode == 0, longer.stderr
    assert record_in(tmp_path).progress.steps == 30
    no_longer = run_apart("train.py", *extend, "duration=0.02s", cwd=tmp_path)
    assert "must be longer than the run's 30 steps, and duration=0.02s is" in no_longer.stderr
    timed = run_apart("train.py", *extend, "duration=3s", cwd=tmp_path)
    assert timed.returncode == 0, timed.stderr
    assert record_in(tmp_path).progress.steps > 30


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["duration=5%"], "duration=5%: must be longer than 0, and not a percentage"),
        (["duration=0ep"], "duration=0ep: must be longer than 0"),
        (["duration=soon"], "duration=soon: must be a number of steps (300)"),
        (["duration=0.5"], 'duration=0.5: must be a whole number of steps, or have a unit, such as "0.5ep"'),
        (["duration=1e300ep"], "duration=1e300ep: must be a number of steps (300)"),
        (["duration=9e14ep"], "duration=9e14ep: must be long enough for 1 step, and for at most"),
        (["ssr=1e300"], "ssr=1e+300: must be a number above 0, at most 1,000,000"),
        (
            ["duration=9s", "trainer.fast_dev_run=true"],
            "trainer.fast_dev_run: must be false where a duration is a time",
        ),
        (["duration=10samples"], "duration=10samples: must be long enough for 1 step"),
        (["duration=1e6tokens"], "must be in another unit, where the horizon has no tokens_per_step"),
        (["ssr=0"], "ssr=0: must be a number above 0"),
        (["ssr=fast"], "ssr=fast: must be a number above 0"),
        (["duration=9s", "trainer=ddp_cpu"], "duration: cannot use a time with 2 processes"),
        (["duration=2ep", "schedule=cosine", "schedule.warmup=3ep"], "schedule.warmup=3ep: 30 steps must be at most"),
    ],
)
def test_what_no_run_can_be(tmp_path, words, message):
    done = run_apart("train.py", *SMALL, *words, cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def test_a_preview_measures_nothing(tmp_path):
    done = run_apart("scripts/preview.py", *SMALL, "duration=30min", cwd=tmp_path)
    assert done.stderr == "error: duration=30min: must be in another unit, where the horizon has no seconds_per_step\n"
