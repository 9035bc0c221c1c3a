"""``scripts/predict.py`` as it is used: two short sweeps, a law, a longer run."""

import csv
import json
import re
import shlex

import numpy as np
import pandas as pd
import pytest
from support.programs import run_apart

from lrdecay import Cosine, Horizon, Polynomial
from lrdecay.theory.law import Law


@pytest.fixture(scope="module")
def short_runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("law")
    words = ["data=digits", "model=mlp", "optimizer=momentum", "optimizer.lr=0.05", "seed=1,2", "name=short"]
    done = run_apart(
        "train.py", "-m", *words, "schedule=constant,cosine,linear", "trainer.max_epochs=10,20", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_what_longer_runs_come_to(short_runs):
    words = ["outputs/sweeps/short", "schedule=wsd,cosine", "trainer.max_epochs=30"]
    done = run_apart("scripts/predict.py", *words, cwd=short_runs)
    assert done.returncode == 0, done.stderr
    assert "multi-power law of val/loss at the peak rate 0.05, of 12 runs of 6 schedules" in done.stdout
    folder = short_runs / "outputs/sweeps/short"
    assert (folder / "prediction.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader((folder / "prediction.csv").read_text().splitlines()))
    assert {row["schedule"]: row["steps"] for row in rows} == {"wsd": "540", "cosine": "540"}
    for row in rows:
        assert float(row["low"]) < float(row["loss"]) < float(row["high"])
        assert f"{float(row['loss']):.4f}" in done.stdout


def test_what_is_printed_to_be_run_names_the_folder_of_configuration_of_ones_own(tmp_path):
    (tmp_path / "conf/experiment").mkdir(parents=True)
    (tmp_path / "conf/experiment/mine.yaml").write_text(
        "# @package _global_\n"
        "defaults: [{override /data: digits}, {override /model: mlp}, {override /callbacks: gradient_norm}]\n"
    )
    swept = ["experiment=mine", "schedule=constant,cosine,linear", "trainer.max_epochs=10,20", "name=x"]
    done = run_apart("train.py", "-m", "--config-dir", "conf", *swept, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = "outputs/sweeps/x"
    assert "train.py --config-dir=conf experiment=mine" in (tmp_path / folder / "report.html").read_text()
    done = run_apart("scripts/predict.py", folder, "schedule=wsd", cwd=tmp_path)
    assert "error: experiment=mine: must be one of" in done.stderr
    done = run_apart("scripts/predict.py", folder, "schedule=wsd", "--optimize", "--config-dir", "conf", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (command,) = re.findall(r"^to train with the best: python train.py (.*)$", done.stdout, re.MULTILINE)
    assert command.startswith("--config-dir=conf experiment=mine ")
    done = run_apart("train.py", *shlex.split(command), "trainer.max_epochs=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run_apart("scripts/refine.py", *sorted((tmp_path / folder).glob("*linear*-20*")), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "to train with it: python train.py --config-dir=conf experiment=mine " in done.stdout


def test_groups_that_are_left_out_are_compared_with_what_they_came_to(short_runs):
    words = ["outputs/sweeps/short", "--fit-on", "constant,cosine", "schedule=wsd"]
    done = run_apart("scripts/predict.py", *words, cwd=short_runs)
    assert done.returncode == 0, done.stderr
    assert "of 8 runs of 4 schedules" in done.stdout
    (said,) = re.findall(
        "^of 2 schedules left out of the fit: mean error (.*), bias (.*), spread .* intervals$",
        done.stdout,
        re.MULTILINE,
    )
    folder = short_runs / "outputs/sweeps/short"
    table = pd.read_csv(folder / "prediction.csv").set_index("schedule")
    left_out = table.loc[["linear max_epochs=10", "linear max_epochs=20"]]
    assert left_out["steps"].tolist() == [180, 360]
    assert float(said[0]) == pytest.approx((left_out["loss"] - left_out["measured"]).abs().mean(), abs=1e-4)
    assert np.isnan(table.loc["wsd", "measured"])
    ends = [
        json.loads((run / "record.json").read_text())["final"]["val/loss"] for run in folder.glob("*linear*epochs-10*")
    ]
    assert left_out["measured"].iloc[0] == pytest.approx(np.mean(ends))
    assert left_out["sd"].iloc[0] == pytest.approx(np.std(ends, ddof=1))
    assert "python scripts/compare.py outputs/sweeps/short puts it on the page" in done.stdout
    assert run_apart("scripts/compare.py", "outputs/sweeps/short", cwd=short_runs).returncode == 0
    page = (folder / "report.html").read_text()
    for text in ("<h2>Prediction</h2>", "<td>linear max_epochs=20</td>", "data:image/png;base64,iVBOR"):
        assert text in page


def test_a_table_of_anybodys(tmp_path):
    law = Law(L0=2.0, A=5.0, alpha=0.5, B=0.4, C=0.1, beta=0.6, gamma=0.6, peak=0.01)
    rows = ["run,step,lr,loss"]
    for name, shape in (("cosine", Cosine()), ("linear", Polynomial()), ("late", Polynomial(hold="50%"))):
        every = 0.01 * shape.over(Horizon(1000, 100))(np.arange(1000))
        at = np.arange(20, 1001, 20)
        rows += [f"{name},0,{every[0]},"]
        rows += [f"{name},{s},{every[min(s, 999)]},{x}" for s, x in zip(at, law.losses(every, at), strict=True)]
    (tmp_path / "runs.csv").write_text("\n".join(rows))
    words = ["--steps-per-epoch", "100", "schedule=knee", "optimizer.lr=0.01", "trainer.max_epochs=20"]
    done = run_apart("scripts/predict.py", "runs.csv", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    every = 0.01 * Polynomial(hold="50%").over(Horizon(2000, 100))(np.arange(2000))
    (row,) = csv.DictReader((tmp_path / "outputs/prediction.csv").read_text().splitlines())
    truth = law.losses(every, np.array([2000]))[0]
    assert float(row["low"]) < truth < float(row["high"])
    assert float(row["loss"]) == pytest.approx(truth, abs=0.02)


def test_the_best_schedule_is_one_to_train_with(short_runs):
    words = ["outputs/sweeps/short", "--optimize", "schedule=cosine,linear,step", "schedule.warmup=10%"]
    done = run_apart("scripts/predict.py", *words, "--output", "outputs/it.png", cwd=short_runs)
    assert done.returncode == 0, done.stderr
    rows = {
        row["schedule"]: float(row["loss"])
        for row in csv.DictReader((short_runs / "outputs/it.csv").read_text().splitlines())
    }
    assert set(rows) == {"cosine", "linear", "step", "best"}
    assert list(rows.values()) == sorted(rows.values())
    assert rows["best"] <= min(rows.values()) + 1e-4
    (command,) = re.findall("^to train with the best: python train.py (.*)$", done.stdout, re.MULTILINE)
    trained = run_apart("train.py", *shlex.split(command), "trainer.max_epochs=1", "seed=7", cwd=short_runs)
    assert trained.returncode == 0, trained.stderr
    (run,) = (short_runs / "outputs/runs").iterdir()
    config = json.loads((run / "record.json").read_text())["config"]
    points = [
        [float(value) for value in line.split(",")]
        for line in (short_runs / "outputs/it_best.csv").read_text().split()[1:]
    ]
    assert config["schedule"]["points"] == points
    assert (config["schedule"]["warmup"], config["optimizer"]["lr"]) == ("10%", 0.05)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "error: nowhere: must be a folder of runs, or a file that ends in .csv"),
        (
            ["outputs/sweeps/short", "--peak", "3"],
            "error: the law: needs runs that completed as planned at the peak rate 3",
        ),
        (
            ["runs.csv", "--columns", "eta"],
            "error: --columns eta: must be step, rate, loss, run = the name of a column",
        ),
        (["a.csv", "b.csv"], "error: a.csv: must be the only path; one CSV may hold several runs"),
        (["outputs/sweeps/short", "schedule=nonsense"], "error: schedule=nonsense: must be one of"),
        (["runs.csv", "--fit-on", "a"], "error: --fit-on=a: must come with folders of runs"),
        (
            ["outputs/sweeps/short", "--fit-on", "cosine,wsd"],
            "error: wsd: must be one of the groups, which are constant max_epochs=10,",
        ),
        (
            ["outputs/sweeps/short", "--fit-on", "cosine,linear,constant"],
            "error: cosine, linear, constant: must leave a group to be predicted",
        ),
        (["outputs/sweeps/short", "--rates", "lr.csv"], "error: --rates lr.csv: must come with a CSV of losses"),
        (
            ["outputs/sweeps/short", "--optimize", "trainer.max_epochs=10,20"],
            "error: --optimize: must have one run to find a schedule for, not max_epochs=10, max_epochs=20",
        ),
    ],
)
def test_bad_input_is_one_line(short_runs, words, message):
    done = run_apart("scripts/predict.py", *words, cwd=short_runs)
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
