"""``preview.py`` as a user runs it, and that it draws what training would use."""

import re
import subprocess
import sys

import numpy as np
import pytest
from support.programs import ROOT, run_apart

from lrdecay.config.compose import compose_all
from lrdecay.config.horizon import horizon
from lrdecay.config.preview import rate_curve
from lrdecay.records.record import read
from lrdecay.reports.preview import sparkline
from lrdecay.theory.bound import bound

CONF = ROOT / "conf"
PNG = b"\x89PNG"
TORCH = "schedule.scheduler._target_=torch.optim.lr_scheduler"


def preview(tmp_path, *arguments: str):
    return run_apart("scripts/preview.py", *arguments, cwd=tmp_path, LRDECAY_DATA="nowhere")


def test_draws_each_schedule(tmp_path):
    done = preview(tmp_path, "data=digits", "schedule=cosine,step,wsd", "schedule.warmup=5%", "trainer.max_epochs=20")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for name in ("cosine", "step", "wsd"):
        assert re.search(rf"^ +{name} +▁?.*█", done.stdout, re.MULTILINE)
    assert "360 steps, 18 an epoch of digits" in done.stdout
    assert (tmp_path / "outputs/preview.png").read_bytes().startswith(PNG)


def test_the_whole_catalogue(tmp_path):
    done = preview(tmp_path, "--all", "data=digits", "--output", "sheet.png")
    assert done.returncode == 0, done.stderr
    drawn = {line.split()[0] for line in done.stdout.splitlines() if re.search("[▁▂▃▄▅▆▇█]", line)}
    files = {path.stem for path in (CONF / "schedule").glob("*.yaml")}
    assert drawn == files - {"plateau", "greedy", "torch"}
    assert (tmp_path / "sheet.png").read_bytes().startswith(PNG)


def test_an_experiment_brings_its_own_schedules(tmp_path):
    done = preview(tmp_path, "experiment=article", "data=digits", "trainer.max_epochs=2")
    assert done.returncode == 0, done.stderr
    drawn = [line.split()[0] for line in done.stdout.splitlines() if re.search("[▁▂▃▄▅▆▇█]", line)]
    assert drawn == ["constant", "step", "exponential", "cosine"]


def bounds(output: str) -> dict[str, list[float]]:
    """What the table of bounds says of each schedule."""
    rows = re.findall(r"^ +(\S+) +× (\S+) +× (\S+) +× (\S+) *$", output, re.MULTILINE)
    return {label: list(map(float, numbers)) for label, *numbers in rows}


def test_compares_them_by_their_bounds(tmp_path):
    words = "schedule=constant,cosine,linear,exponential", "data=digits", "trainer.max_epochs=20"
    done = preview(tmp_path, *words, "--bound")
    assert done.returncode == 0, done.stderr
    found = bounds(done.stdout)
    constant, linear = (bound(factors) for factors in (np.ones(360), 1 - np.arange(360) / 360))
    assert found["constant"][:2] == [1, 1]
    assert found["linear"][:2] == pytest.approx(
        [linear.best / constant.best, linear.best_base / constant.best_base], rel=0.01
    )
    # A shape that stretches with the run takes half the rate for four times the steps; a decay by the epoch does not.
    assert found["linear"][2] == pytest.approx(0.5, rel=0.01)
    assert found["exponential"][2] > 1
    assert (tmp_path / "outputs/preview.png").read_bytes().startswith(PNG)
    sheet = preview(tmp_path, "--all", "--bound", "data=digits", "--output", "sheet.png")
    assert len(bounds(sheet.stdout)) > 20
    assert bounds(sheet.stdout)["linear"] == found["linear"]


def test_a_schedule_that_has_no_bound_is_named(tmp_path):
    stands = "schedule=piecewise", "schedule.points=[[0,0],[100%,0]]", "data=digits"
    done = preview(tmp_path, *stands, "--bound")
    assert done.returncode == 1
    assert done.stderr == "error: --bound: piecewise: factors=0: must be above 0 at one step at least\n"


def test_says_how_long_each_run_is(tmp_path):
    done = preview(tmp_path, "data=digits", "schedule=cosine", "trainer.max_epochs=5,10")
    assert re.search(r"^ +max_epochs=5 .* 90 ", done.stdout, re.MULTILINE)
    assert re.search(r"^ +max_epochs=10 .* 180 ", done.stdout, re.MULTILINE)
    assert "90 steps, 18 an epoch of digits\n180 steps, 18 an epoch of digits" in done.stdout


def test_loads_neither_torch_nor_data(tmp_path):
    code = (
        "import atexit, runpy, sys; sys.argv[1:] = ['schedule=cosine', 'data=digits'];"
        "atexit.register(lambda: print(sorted({'torch', 'sklearn', 'pandas'} & sys.modules.keys()), file=sys.stderr));"
        f"runpy.run_path({str(ROOT / 'scripts/preview.py')!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


@pytest.mark.parametrize(
    "overrides",
    [
        ["schedule=onecycle", "optimizer=momentum"],
        ["schedule=step", "schedule.every=1ep", "trainer.accumulate_grad_batches=4", "data.batch_size=100"],
        ["schedule=cosine", "trainer.max_epochs=-1", "trainer.max_steps=25"],
        ["schedule=wsd", "trainer.max_steps=30", "data.train_size=500", "data.val_size=100"],
        ["schedule=linear", "debug=limit"],
        ["schedule=rex", "debug=fast_dev_run"],
        ["schedule=rex", "+trainer.limit_train_batches=0.3"],
        ["schedule=rex", "+trainer.limit_train_batches=null"],
        ["schedule=rex", "+trainer.fast_dev_run=7", "+trainer.limit_train_batches=3"],
        ["schedule=rex", "+trainer.fast_dev_run=7", "trainer.accumulate_grad_batches=3"],
        ["schedule=rex", "debug=overfit", "trainer.max_epochs=3"],
        [
            "schedule=torch", "schedule.scheduler._target_=torch.optim.lr_scheduler.StepLR",
            "+schedule.scheduler.step_size=1", "+schedule.scheduler.gamma=0.5", "schedule.interval=epoch",
        ],
    ],
    ids=" ".join,
)  # fmt: skip
def test_draws_what_training_uses(train, tmp_path, overrides):
    overrides = ["trainer.max_epochs=2", "model=mlp", *overrides]
    done = train(*overrides)
    assert done.returncode == 0, done.stderr
    record = read(next(tmp_path.glob("outputs/runs/*/record.json")))
    ((_, config),) = compose_all(CONF, ["data=digits", *overrides])
    assert (horizon(config).total_steps, horizon(config).steps_per_epoch) == (
        record.plan.total_steps,
        record.plan.steps_per_epoch,
    )
    drawn = rate_curve("", config)
    used = np.array(record.progress.rates)
    np.testing.assert_allclose(drawn.rates[used[:, 0].astype(int)], used[:, 1], rtol=1e-12, atol=1e-300)


def test_mnist_where_it_is_on_disk(mnist_root, monkeypatch):
    monkeypatch.setenv("LRDECAY_DATA", str(mnist_root))
    ((_, config),) = compose_all(CONF, [])
    assert (horizon(config).total_steps, horizon(config).steps_per_epoch) == (15_000, 750)


def test_mean_and_area():
    ((_, config),) = compose_all(CONF, ["schedule=linear", "optimizer.lr=0.2", "data=digits", "trainer.max_epochs=10"])
    curve = rate_curve("linear", config)
    assert curve.mean == pytest.approx(0.1, rel=0.01)
    assert curve.area == pytest.approx(curve.rates.sum())


def test_a_run_of_a_billion_steps_is_drawn_from_a_million():
    ((_, config),) = compose_all(CONF, ["schedule=cosine", "trainer.max_epochs=-1", "trainer.max_steps=1000000000"])
    curve = rate_curve("long", config, steps_per_epoch=1000)
    assert len(curve.steps) == 1_000_000
    assert (curve.steps[0], curve.steps[-1]) == (0, 10**9 - 1)
    assert curve.area == pytest.approx(0.5e6, rel=1e-5)


def test_a_line_of_blocks():
    assert sparkline(np.array([0, 0, 4, 4, 8, 8.0]), 3) == " ▄█"
    assert sparkline(np.zeros(5), 5) == " " * 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["schedule=sawtooth"], "schedule=sawtooth: must be one of constant, cosine"),
        (["schedule=step", "schedule.gamma=2"], "schedule.gamma=2: must be a number in (0, 1]"),
        (["schedule=multistep", "schedule.milestones=[30ep]"], "schedule.milestones=[30ep]: must be within the run"),
        (["schedule=cosine", "schedule.sharpness=1"], "schedule.sharpness: no such key"),
        (["optimizer.lr=-1"], "optimizer.lr=-1: must be a number above 0"),
        (["trainer.max_epochs=-1"], "trainer.max_epochs=-1: a schedule needs an end"),
        (["data.batch_size=0"], "data.batch_size=0: must be an integer, at least 1"),
        (["data.batch_size=9999"], "data.batch_size=9999: must be at most the 1150 training images"),
        (["data._target_=mine.Few"], "data._target_=mine.Few: its size is not known without loading it"),
        (["schedule=torch"], "schedule.scheduler._target_=???: must be given"),
        (["schedule=["], "schedule=[: not an override"),
        (["--output", "/proc/nowhere/a.png"], "/proc/nowhere"),
        (["--output", "figure.pdf"], "--output=figure.pdf: must be a file that ends in .png"),
        (["--output", "."], "--output=.: must be a file that ends in .png"),
        (["--steps-per-epoch", "0"], "--steps-per-epoch=0: must be an integer, at least 1"),
        ([f"{TORCH}.ReduceLROnPlateau", "schedule.monitor=val/loss", "schedule.interval=epoch", "schedule=torch"],
         "schedule.monitor=val/loss: the rates follow a metric that only training has"),
        ([f"{TORCH}.OneCycleLR", "schedule=torch", "+schedule.scheduler.max_lr=1", "+schedule.scheduler.total_steps=9"],
         "schedule.scheduler: Tried to step 10 times. The specified number of total steps is 9"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)  # fmt: skip
def test_a_mistake_is_one_line(tmp_path, arguments, message):
    done = preview(tmp_path, "data=digits", *arguments)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith(f"error: {message}")
    assert not list(tmp_path.rglob("*.png"))
