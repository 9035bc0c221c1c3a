"""``scripts/compare.py`` as a user runs it."""

import shutil

import pytest
from conftest import edit, run_program


def compare(*arguments, cwd):
    return run_program("scripts/compare.py", *arguments, cwd=cwd)


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
    assert done.stdout.splitlines()[-2:] == ["runs/comparison.csv", "runs/comparison.png"]
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
    assert done.stderr.startswith("error: runs/01_cosine_seed-1/record.json: not a whole record (")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("path", ["empty", "nowhere"])
def test_nothing_to_compare(tmp_path, path):
    (tmp_path / "empty").mkdir()
    done = compare(path, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {'no runs in ' if path == 'empty' else ''}{path}: no ")
    assert len(done.stderr.splitlines()) == 1
