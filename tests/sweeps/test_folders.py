import pytest
from omegaconf import OmegaConf

from lrdecay.config.overrides import job_name
from lrdecay.config.resolvers import better
from lrdecay.errors import ConfigError
from lrdecay.sweeps.folders import claim, claim_sweep, sweep_folder

CHOICES = {"schedule": "cosine", "optimizer": "adam", "trainer": "cpu"}


def test_a_claimed_folder_is_made_and_nobody_elses(tmp_path):
    path = str(tmp_path / "runs/now")
    assert claim(path) == path
    assert claim(path) == f"{path}-2", "another launch"
    assert {folder.name for folder in (tmp_path / "runs").iterdir()} == {"now", "now-2"}


def test_a_sweep_is_named_by_its_name_or_its_time():
    config = OmegaConf.create({"output_dir": "out", "name": "mine"})
    assert sweep_folder("12-00", _root_=config) == "out/sweeps/mine"
    config.name = None
    assert sweep_folder("12-00", _root_=config) == "out/sweeps/12-00"


def test_a_named_sweep_is_resumed_and_another_gets_a_folder_of_its_own(tmp_path):
    path = str(tmp_path / "sweep")
    assert [claim_sweep(path, "sweep") for _ in range(2)] == [path, path]
    assert claim_sweep(path, None) == f"{path}-2"


@pytest.mark.parametrize("name", ["a/b", "..", "a=b", "", "it's", " x", "a\nb"])
def test_a_name_that_cannot_be_a_folder_or_a_run(name):
    with pytest.raises(ConfigError, match=r"^name="):
        sweep_folder("12-00", _root_=OmegaConf.create({"name": name}))


@pytest.mark.parametrize(
    ("overrides", "fixed", "expected"),
    [
        (["schedule=step", "schedule.gamma=0.5", "seed=2"], [], "03_step_gamma-0.5_seed-2"),
        (["data=digits", "seed=2"], ["data"], "03_seed-2"),
        (["seed=2"], ["seed"], "03_cosine"),
        ([], [], "03_cosine"),
        (["model.hidden=[8,4]"], [], "03_hidden-8-4"),
        (["+trainer.limit_val_batches=0.5"], [], "03_limit_val_batches-0.5"),
        (["schedule._target_=my/odd=Class"], [], "03_my-odd-Class"),
        (["schedule.warmup=5%"], [], "03_warmup-5%"),
    ],
)
def test_a_job_is_named_by_what_varied(overrides, fixed, expected):
    assert job_name(2, overrides, fixed, CHOICES) == expected


def test_which_is_better():
    assert [better(name, _root_=OmegaConf.create()) for name in ("val/loss", "val/acc")] == ["min", "max"]
    declared = OmegaConf.create({"metrics": {"val/acc": "lower", "val/r2": {"better": "higher"}}})
    assert [better(name, _root_=declared) for name in ("val/acc", "val/r2")] == ["min", "max"]
