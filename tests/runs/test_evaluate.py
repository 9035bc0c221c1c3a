"""``scripts/evaluate.py``: a run's weights give its recorded metrics again."""

import shutil

import pytest
import torch
from support import programs
from support.records import edit
from support.runs import SMALL

from lrdecay.records.record import read


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    jobs = ["schedule=cosine", "optimizer=adam,schedule_free_adamw", "model.dropout=0,0.2", "name=x"]
    done = programs.run("train.py", "-m", *SMALL, *jobs, cwd=folder)
    assert done.process.exitcode == 0, done.text
    return folder / "outputs/sweeps/x"


def evaluate(*arguments, cwd):
    return programs.run("scripts/evaluate.py", *arguments, cwd=cwd)


def test_to_the_last_digit(runs):
    folders = [file for file in runs.iterdir() if file.is_dir()]
    assert len(folders) == 4
    done = evaluate(*runs.iterdir(), cwd=runs)
    assert done.process.exitcode == 0, done.text
    for folder in folders:
        final = read(folder / "record.json").outcome.final
        for key in ("test/loss", "test/acc"):
            assert f"{folder.name}: {key} {final[key]} · recorded {final[key]}\n" in done.text


def test_a_run_of_several_nodes_with_callbacks_from_a_new_process(tmp_path):
    """Where nothing has been composed, and where the other nodes are not."""
    done = programs.run("train.py", *SMALL, "callbacks=early_stopping", "name=x", cwd=tmp_path)
    assert done.process.exitcode == 0, done.text
    (folder,) = (tmp_path / "outputs/runs").iterdir()
    record = read(folder / "record.json")
    record.plan.composed["trainer"]["num_nodes"] = 2
    edit(folder / "record.json", composed=record.plan.composed)
    done = programs.fresh("scripts/evaluate.py", folder, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"test/acc {record.outcome.final['test/acc']} · recorded" in done.stdout


def test_of_a_run_that_has_been_interrupted_nothing_is_recorded(runs, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(next(runs.glob("01*")), copy)
    edit(copy / "record.json", status="interrupted", final={})
    done = evaluate(copy, cwd=tmp_path)
    assert done.process.exitcode == 1
    assert done.text.endswith("error: 2 metrics not as recorded\n")


def test_the_runs_after_one_without_weights_are_tested(runs, tmp_path):
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        shutil.copytree(next(runs.glob("01*")), folder)
    shutil.rmtree(folders[0] / "checkpoints")
    done = evaluate(*folders, cwd=tmp_path)
    assert done.process.exitcode == 1
    assert done.text.startswith(f"error: {folders[0]}/checkpoints/last.ckpt: ")
    assert done.text.count("\nb: test/") == 2


def test_other_weights_are_found_out(runs, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(next(runs.glob("01*")), copy)
    path = copy / "checkpoints/last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    list(checkpoint["state_dict"].values())[-1][0] += 0.5
    torch.save(checkpoint, path)
    done = evaluate(copy, cwd=tmp_path)
    assert done.process.exitcode == 1
    assert "error: " in done.text


def test_the_best_checkpoint(runs):
    done = evaluate(next(runs.glob("01*")), "--checkpoint", "best", cwd=runs)
    assert done.process.exitcode == 0
    assert "test/acc 0." in done.text


@pytest.mark.parametrize(("folder", "error"), [("nowhere", "no such folder"), (".", "it has no record.json")])
def test_what_is_no_run(folder, error, tmp_path):
    done = evaluate(folder, cwd=tmp_path)
    assert done.process.exitcode == 1
    assert done.text.startswith("error: ")
    assert error in done.text
