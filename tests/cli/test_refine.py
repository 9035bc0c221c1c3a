"""``scripts/refine.py`` as it is used: a sweep that logs its gradient norms, a refined schedule, a run with it."""

import csv
import json
import re
import shlex

import numpy as np
import pandas as pd
import pytest
import torch
from support.programs import run_apart

WORDS = ["data=digits", "model=mlp", "model.hidden=[16]", "optimizer=sgd", "optimizer.lr=0.1", "trainer.max_epochs=4"]
PLACED = ["schedule.warmup=10%", "schedule.final=0.1"]
LOGGED = [*PLACED, "callbacks=gradient_norm", "callbacks.gradient_norm.every=3"]


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("norms")
    done = run_apart("train.py", "-m", *WORDS, *LOGGED, "schedule=cosine", "seed=1,2", "name=it", cwd=folder)
    assert done.returncode == 0, done.stderr
    plain = run_apart("train.py", *WORDS, *PLACED, "schedule=cosine", "seed=1", "name=plain", cwd=folder)
    assert plain.returncode == 0, plain.stderr
    return folder


def norms_of(run) -> pd.Series:
    return pd.read_csv(run / "metrics.csv").set_index("step")["grad_norm"].dropna()


def test_norms_are_logged_at_every_so_many_steps_and_change_nothing(logged):
    run = logged / "outputs/sweeps/it/01_seed-1"
    norms = norms_of(run)
    assert norms.index.tolist() == list(range(0, 72, 3))
    assert (norms > 0).all()
    (plain,) = (logged / "outputs/runs").glob("*_cosine")
    weights = [torch.load(it / "checkpoints/last.ckpt")["state_dict"] for it in (run, plain)]
    for one, other in zip(*(own.values() for own in weights), strict=True):
        assert torch.equal(one, other)


def test_a_refined_schedule_is_one_to_train_with(logged):
    done = run_apart("scripts/refine.py", "outputs/sweeps/it", "--output", "outputs/mine.png", cwd=logged)
    assert done.returncode == 0, done.stderr
    assert "refined by 24 gradient norms of 2 runs" in done.stdout
    assert (logged / "outputs/mine.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader((logged / "outputs/mine.csv").read_text().splitlines()))
    factors = np.array([float(row["factor"]) for row in rows])
    assert (len(rows), factors.max(), factors[-1], rows[-1]["p"]) == (25, 1, 0, "1.0")
    (command,) = re.findall("^to train with it: python train.py (.*)$", done.stdout, re.MULTILINE)
    assert run_apart("train.py", *shlex.split(command), "name=refined", cwd=logged).returncode == 0
    (run,) = (logged / "outputs/runs").glob("*_table")
    rates = [rate for _, rate in json.loads((run / "record.json").read_text())["rates"]]
    own = 0.1 * np.interp(np.arange(72) / 72, [float(row["p"]) for row in rows], factors)
    assert rates == pytest.approx(own, abs=1e-9)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["outputs/runs/*_cosine"], "has no grad_norm in its metrics.csv; callbacks=gradient_norm logs it"),
        (["outputs/nowhere"], "error: outputs/nowhere"),
        (["outputs/sweeps/it", "--smoothing", "2"], "error: refinement.smoothing=2.0: must be a fraction of the run"),
        (["outputs/sweeps/it", "--output", "x.jpg"], "error: --output=x.jpg: must be a file that ends in .png"),
    ],
)
def test_bad_input_is_one_line(logged, words, message):
    expanded = [str(path.relative_to(logged)) for path in logged.glob(words[0])] or words[:1]
    done = run_apart("scripts/refine.py", *expanded, *words[1:], cwd=logged)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("every", ["0", "0.1", "-3", "x"])
def test_every_must_be_a_duration(every, tmp_path):
    words = [*WORDS, "callbacks=gradient_norm", f"callbacks.gradient_norm.every={every}"]
    done = run_apart("train.py", *words, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: callbacks.gradient_norm.every=")
