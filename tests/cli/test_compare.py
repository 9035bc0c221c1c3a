"""``scripts/compare.py`` as a user runs it."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from support.programs import run_apart
from support.records import a_run, edit, write_runs

import lrdecay
from lrdecay.analysis.measures import MEASURES


def compare(*arguments, cwd):
    return run_apart("scripts/compare.py", *arguments, cwd=cwd)


@pytest.fixture
def runs(sweep, tmp_path):
    """A copy of the sweep of four, without its comparison."""
    folder, _ = sweep
    shutil.copytree(folder, tmp_path / "runs", ignore=shutil.ignore_patterns("comparison*"))
    return tmp_path / "runs"


def test_compares_a_sweep_again(runs, tmp_path):
    done = compare("runs", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "digits: 4 runs in 2 groups" in done.stdout
    assert done.stdout.splitlines()[-3:] == ["runs/comparison.csv", "runs/comparison.png", "runs/report.html"]
    assert (runs / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_compares_runs_picked_by_hand_into_another_folder(runs, tmp_path):
    done = compare("runs/01_cosine_seed-1", "runs/03_step_seed-1", "--output", "picked", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "digits: 2 runs in 2 groups" in done.stdout
    assert (tmp_path / "picked/comparison.csv").exists()


def test_two_data_sets_are_two_tables_and_said(runs, tmp_path):
    file = runs / "01_cosine_seed-1/record.json"
    edit(file, data="mnist")
    done = compare("runs", cwd=tmp_path)
    assert done.returncode == 1
    assert "mnist: 1 run in 1 group" in done.stdout
    assert "digits: 3 runs in 2 groups" in done.stdout
    assert done.stderr == "error: runs on 2 data sets (digits, mnist): compared apart, never with each other\n"
    assert {path.name for path in runs.glob("*.png")} == {"comparison-digits.png", "comparison-mnist.png"}


def test_a_half_written_record_is_named_and_the_others_compared(runs, tmp_path):
    file = runs / "01_cosine_seed-1/record.json"
    file.write_text(file.read_text()[:1000])
    done = compare("runs", cwd=tmp_path)
    assert done.returncode == 1
    assert "digits: 3 runs in 2 groups" in done.stdout
    assert done.stderr.startswith("error: runs/01_cosine_seed-1/record.json: not a complete record (")
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def grid(tmp_path):
    """Records of two schedules at two rates."""
    records = []
    for schedule in ("constant", "cosine"):
        for lr, accuracy in ((0.1, 0.8), (0.3, 0.9)):
            for seed in (1, 2, 3):
                better = 0.05 * (schedule == "cosine")
                records.append(
                    a_run(schedule, seed, accuracy + better + 0.001 * seed**2 + 0.0001 * seed * len(schedule))
                )
                records[-1].plan.config["optimizer"]["lr"] = lr
    return write_runs(tmp_path / "grid", records)


def rows(folder, measure="test/acc"):
    table = pd.read_csv(folder / "comparison.csv")
    return table[table["measure"] == measure].set_index("group")


def test_csv_holds_the_numbers(grid, tmp_path):
    assert compare("grid", cwd=tmp_path).returncode == 0
    table = rows(grid)
    accuracies = [0.9 + 0.001 * seed**2 + 0.0008 * seed for seed in (1, 2, 3)]
    row = table.loc["constant lr=0.3"]
    assert (row["data"], row["n"], row["mean"]) == ("digits", 3, pytest.approx(np.mean(accuracies)))
    low, high = stats.t.interval(0.95, 2, np.mean(accuracies), stats.sem(accuracies))
    assert (row["low"], row["high"]) == pytest.approx((low, high))
    assert (row["best"], row["worst"]) == pytest.approx((max(accuracies), min(accuracies)))
    cosine = table.loc["cosine lr=0.3"]
    assert (cosine["baseline"], cosine["pairs"], cosine["verdict"]) == ("constant lr=0.3", 3, "better")
    assert set(pd.read_csv(grid / "comparison.csv")["measure"]) == {*MEASURES, "diverged"}


def test_another_baseline(grid, tmp_path):
    done = compare("grid", "--baseline", "constant lr=0.1", cwd=tmp_path)
    assert "Against constant lr=0.1: " in done.stdout
    assert set(rows(grid)["baseline"].dropna()) == {"constant lr=0.1"}


def test_each_at_its_own_best_rate(grid, tmp_path):
    done = compare("grid", "--tuned-over", "optimizer.lr", cwd=tmp_path)
    assert "Against constant (lr=0.3): cosine (lr=0.3) is better in test accuracy; " in done.stdout
    assert "note: each group at its best optimizer.lr by val/acc; the 6 runs at other values" in done.stdout
    assert list(rows(grid).index) == ["constant (lr=0.3)", "cosine (lr=0.3)"]


def test_the_rate_chosen_by_some_seeds_and_judged_by_others(grid, tmp_path):
    done = compare("grid", "--tuned-over", "optimizer.lr", "--tuned-by", "1", cwd=tmp_path)
    assert "of which 0 did not complete, are left out; seed 1 chose, and does not judge" in done.stdout
    assert "the seeds that chose also judge" not in done.stdout
    assert set(rows(grid)["n"]) == {2}
    found = lrdecay.compare(lrdecay.load(grid), tuned_over=["optimizer.lr"], tuned_by=[1])
    assert found.table.loc[("cosine", "test/acc"), "mean"] == rows(grid).loc["cosine (lr=0.3)", "mean"]


@pytest.mark.parametrize("seeds", ["1,2", "2,1,1", "1..2"])
def test_seeds_are_numbers_or_the_first_and_the_last(grid, tmp_path, seeds):
    done = compare("grid", "--tuned-over", "optimizer.lr", "--tuned-by", seeds, cwd=tmp_path)
    assert "seeds 1, 2 chose, and do not judge" in done.stdout


@pytest.mark.parametrize("seeds", ["", "one", "2..1", "1,", "1..99999", "-1"])
def test_seeds_that_are_none_are_refused(tmp_path, seeds):
    done = compare("grid", "--tuned-over", "optimizer.lr", f"--tuned-by={seeds}", cwd=tmp_path)
    assert done.returncode == 2
    assert f"argument --tuned-by: {seeds}: must be " in done.stderr


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--tuned-by=1,2", "tuned by seeds 1, 2: must come with keys that are tuned over"),
        ("--baseline=linear", "--baseline=linear: must be one of constant lr=0.1, "),
        ("--tuned-over=seed", "tuned over seed: must be a key that varies among these runs: optimizer.lr"),
        ("--format=jpg", "--format=jpg: must be one of png, pdf, svg"),
        ("--columns=3", "--columns=3: must be one of 1, 2"),
    ],
)
def test_options_that_do_not_fit_are_refused(grid, tmp_path, option, message):
    done = compare("grid", option, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {message}")
    assert len(done.stderr.splitlines()) == 1
    assert not list(grid.glob("*.*"))


def test_figures_for_papers(grid, tmp_path):
    done = compare("grid", "--format", "pdf,svg", "--columns", "1,2", "--output", "figures", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    names = {f"comparison{size}.{form}" for size in ("", "-1column", "-2column") for form in ("pdf", "svg")}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == names | {"comparison.csv", "report.html"}
    width = (tmp_path / "figures/comparison-1column.svg").read_text().split('width="')[1].split('pt"')[0]
    assert float(width) == pytest.approx(3.35 * 72, rel=0.01)


def test_records_of_an_older_version_take_part(grid, tmp_path):
    file = grid / "001_constant_seed-1/record.json"
    values = json.loads(file.read_text())
    for key in ("digest", "command", "commit", "dirty", "code", "composed", "resumed", "divergence"):
        del values[key]
    file.write_text(json.dumps(values | {"schema": 2}))
    done = compare("grid", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "12 runs" in done.stdout


@pytest.mark.parametrize("text", ["", "{}", '{"schema": 99}', "[1, 2"])
def test_files_that_are_no_records_are_named(grid, tmp_path, text):
    (grid / "001_constant_seed-1/record.json").write_text(text)
    done = compare("grid", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: grid/001_constant_seed-1/record.json: not a ")
    assert len(done.stderr.splitlines()) == 1
    assert "11 runs" in done.stdout


@pytest.mark.parametrize("seed", [None, "one", [1, 2], 1.5, True])
def test_a_seed_that_is_none_is_named(grid, tmp_path, seed):
    file = grid / "001_constant_seed-1/record.json"
    edit(file, config=json.loads(file.read_text())["config"] | {"seed": seed})
    done = compare("grid", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: grid/001_constant_seed-1/record.json: seed={seed}: must be an integer")
    assert len(done.stderr.splitlines()) == 1
    assert "11 runs" in done.stdout


@pytest.mark.parametrize(
    ("number", "what"), [(10**400, ": final[...]: number out of range"), (1e999, " (Infinity is not JSON)")]
)
def test_numbers_beyond_all_bounds_are_refused(grid, tmp_path, number, what):
    edit(grid / "001_constant_seed-1/record.json", final={"test/acc": number})
    done = compare("grid", cwd=tmp_path)
    assert done.stderr == f"error: grid/001_constant_seed-1/record.json: not a complete record{what}\n"


def test_completed_runs_without_one_finite_number(tmp_path):
    runs = [a_run("constant"), a_run("cosine")]
    for run in runs:
        run.progress.epochs = [dict.fromkeys(row) | {"epoch": row["epoch"]} for row in run.progress.epochs]
        run.outcome.final = dict.fromkeys(run.outcome.final)
    write_runs(tmp_path / "runs", runs)
    done = compare("runs", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing tested, which takes two seeds, in validation accuracy" in done.stdout
    assert "not tested: cosine\n" in done.stdout
    assert (tmp_path / "runs/report.html").exists()


def test_data_sets_whose_names_look_alike_have_files_of_their_own(tmp_path):
    runs = [a_run(data=data) for data in ("a b", "a?b", "x" * 300)]
    write_runs(tmp_path / "runs", runs)
    assert compare("runs", cwd=tmp_path).returncode == 1
    assert len(list((tmp_path / "runs").glob("report-*.html"))) == 3


@pytest.mark.parametrize("path", ["empty", "nowhere"])
def test_nothing_to_compare(tmp_path, path):
    (tmp_path / "empty").mkdir()
    done = compare(path, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {'no runs in ' if path == 'empty' else ''}{path}: no ")
    assert len(done.stderr.splitlines()) == 1
