import pytest

from lrdecay.errors import ConfigError
from lrdecay.overrides import job_name
from lrdecay.resolvers import better, claim, sweep_dir

CHOICES = {"schedule": "cosine", "optimizer": "adam", "trainer": "cpu"}


def test_a_claimed_folder_is_made_and_nobody_elses(tmp_path):
    path = str(tmp_path / "runs/now")
    assert claim(path) == path
    assert claim(path) == path, "the same launch asks again"
    claim.cache_clear()
    assert claim(path) == f"{path}-2", "another launch"
    assert {folder.name for folder in (tmp_path / "runs").iterdir()} == {"now", "now-2"}


def test_a_sweep_is_named_by_its_name_or_its_time(tmp_path):
    assert sweep_dir(str(tmp_path), "mine", "12-00") == str(tmp_path / "mine")
    assert sweep_dir(str(tmp_path), None, "12-00") == str(tmp_path / "12-00")


@pytest.mark.parametrize("name", ["a/b", "..", "a=b", "", "it's", " x", "a\nb"])
def test_a_name_that_cannot_be_a_folder_or_a_run(tmp_path, name):
    with pytest.raises(ConfigError, match=r"^name="):
        sweep_dir(str(tmp_path), name, "12-00")


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
    assert (better("val/loss"), better("val/acc")) == ("min", "max")
