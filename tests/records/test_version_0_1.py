"""A folder of outputs that version 0.1 has left is read, compared, resumed, and recognised as complete."""

import json
import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from support import programs
from support.programs import ROOT

from lrdecay.config.build import instantiate
from lrdecay.records.identity import determining
from lrdecay.records.record import find, read
from lrdecay.records.renames import RENAMED, renamed
from lrdecay.training.checkpoints import read_checkpoint

pytestmark = pytest.mark.slow

KEPT = ROOT / "tests/fixtures/version_0_1"
SMALL = ["data=digits", "model=mlp", "model.hidden=[4]", "trainer.max_epochs=3", "trainer.log_every_n_steps=5"]


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    return Path(shutil.copytree(KEPT / "outputs", tmp_path / "outputs"))


def assert_ends_as_version_0_1(run: Path, name: str) -> None:
    """On the machine of then to the last bit; another processor rounds its sums otherwise."""
    record, expected = read(run / "record.json"), json.loads((KEPT / "expected.json").read_text())[name]
    assert record.outcome.status == "completed"
    assert [row["step"] for row in record.progress.epochs] == expected["steps"]
    assert record.progress.rates == [(step, pytest.approx(rate, rel=1e-12)) for step, rate in expected["rates"]]
    for key, value in expected["final"].items():
        assert record.outcome.final[key] == pytest.approx(value, rel=1e-3, abs=0.01 if key.endswith("acc") else None), (
            key
        )


@pytest.mark.parametrize("file", find([KEPT]), ids=lambda file: file.parent.name)
def test_records_are_read(file):
    record = read(file)
    assert record.plan.data == "digits"
    assert record.outcome.status in ("completed", "interrupted")
    assert record.whole == (record.outcome.status == "completed")


def test_a_run_that_was_interrupted_is_resumed(outputs, tmp_path):
    """With momentum against the rate and a scale that follows a metric, so that all of its state matters."""
    run = outputs / "runs/interrupted"
    before = read(run / "record.json")
    assert read_checkpoint(run / "checkpoints/last.ckpt")["global_step"] == 26
    done = programs.run("train.py", f"resume={run}", cwd=tmp_path)
    assert done.process.exitcode == 0, done.text
    assert "resumes after step 26 of 54" in done.text
    assert read(run / "record.json").progress.epochs[:1] == before.progress.epochs[:1]
    assert_ends_as_version_0_1(run, "runs/interrupted")


def test_a_complete_run_is_complete_and_can_be_extended(outputs, tmp_path):
    run = outputs / "runs/whole"
    again = programs.run("train.py", f"resume={run}", cwd=tmp_path)
    assert again.text.startswith("already complete: digits: test/acc 22.56%")
    longer = programs.run("train.py", f"resume={run}", "resume_mode=extend", "trainer.max_epochs=4", cwd=tmp_path)
    assert longer.process.exitcode == 0, longer.text
    assert len(read(run / "record.json").progress.epochs) == 4


def test_its_weights_give_its_metrics(outputs, tmp_path):
    done = programs.run("scripts/evaluate.py", outputs / "runs/whole", cwd=tmp_path)
    recorded = read(outputs / "runs/whole/record.json").outcome.final
    measured = {line.split()[1]: float(line.split()[2]) for line in done.text.splitlines() if ": test/" in line}
    assert measured == {key: pytest.approx(recorded[key], rel=1e-4) for key in ("test/loss", "test/acc")}


def test_a_finished_sweep_is_recognised(outputs, tmp_path):
    done = programs.run("train.py", "-m", *SMALL, "schedule=constant,step", "seed=1,2", "name=finished", cwd=tmp_path)
    assert done.process.exitcode == 0, done.text
    assert done.text.count("already complete") == 4
    assert "has 4 completed runs from a different version of the code; they are kept" in done.text


def test_a_half_finished_sweep_is_finished(outputs, tmp_path):
    done = programs.run("train.py", "-m", *SMALL, "schedule=cosine,step", "seed=1,2", "name=half", cwd=tmp_path)
    assert done.process.exitcode == 0, done.text
    assert done.text.count("already complete") == 1
    folder = outputs / "sweeps/half"
    assert read(folder / "02_cosine_seed-2/record.json").progress.resumed[0]["step"] == 26
    for name in ("01_cosine_seed-1", "02_cosine_seed-2", "03_step_seed-1", "04_step_seed-2"):
        assert_ends_as_version_0_1(folder / name, f"sweeps/half/{name}")


def test_a_claims_records_are_judged(outputs, tmp_path):
    words = ["faster", *SMALL, "name=claim", "--no-run"]
    seen = programs.run("scripts/claims.py", *words, cwd=tmp_path)
    assert "claim faster: seed 21 is not settled in every group" in seen.text  # the claim is judged by others now
    done = programs.run("scripts/claims.py", *words, "claim.first_seed=1", "claim.looks=[2]", cwd=tmp_path)
    assert done.process.exitcode == 0, done.text
    assert "8 runs of 2 seeds on digits" in done.text
    compared = programs.run("scripts/compare.py", outputs / "sweeps/claim", cwd=tmp_path)
    assert "digits: 8 runs in 4 groups" in compared.text


@pytest.mark.parametrize("old", RENAMED)
def test_every_old_name_is_that_of_a_class_that_there_is(old):
    module, _, name = RENAMED[old].rpartition(".")
    assert isinstance(getattr(__import__(module, fromlist=[name]), name), type)


def test_a_configuration_with_old_names_is_built_and_is_the_same_run():
    old = {"scale": {"_target_": "lrdecay.scales.Plateau", "patience": 3}}
    new = {"scale": {"_target_": "lrdecay.schedules.Plateau", "patience": 3}}
    assert determining(old, None) == determining(new, None) == determining(renamed(old), None)
    assert instantiate(OmegaConf.create(old["scale"]), "scale").patience == 3
