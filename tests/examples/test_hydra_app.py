"""Schedules in Hydra applications of other people: the example, and what the group must not do to theirs."""

import re

import pytest
import yaml
from support.programs import fresh, run

APP = "examples/hydra_app/train.py"
QUIET = {"PYTHONWARNINGS": "ignore"}


def ended(text: str) -> list[float]:
    """The rates at the ends of the runs."""
    return [float(rate) for rate in re.findall(r"^accuracy \d+\.\d%, rate at the end (\S+)$", text, re.MULTILINE)]


def test_the_example_as_it_says(tmp_path):
    done = fresh(APP, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert ended(done.stdout) == [0]
    words = ["-m", "schedule=constant,cosine,half", "optimizer=sgd", "schedule.final=0.5", "epochs=2"]
    swept = fresh(APP, *words, cwd=tmp_path)
    assert swept.returncode == 0, swept.stderr
    assert ended(swept.stdout) == [0.1, 0.05, 0.075]


@pytest.fixture
def app(tmp_path):
    """Composes somebody's application, which has a configuration of its own: what it prints, as YAML."""
    (tmp_path / "conf/optimizer").mkdir(parents=True)
    (tmp_path / "conf/optimizer/mine.yaml").write_text("mine: true\n")
    (tmp_path / "conf/config.yaml").write_text("defaults: [optimizer: mine, _self_]\nown: 1\n")
    program = tmp_path / "app.py"
    program.write_text(
        "import hydra\nfrom hydra.utils import instantiate\nfrom omegaconf import OmegaConf\n\n\n"
        "@hydra.main(version_base='1.3', config_path='conf', config_name='config')\n"
        "def main(config):\n"
        "    for node in config.values():\n"
        "        if OmegaConf.is_dict(node) and 'schedule' in node.get('_target_', ''):\n"
        "            instantiate(node)\n"
        "    print(OmegaConf.to_yaml(config, resolve=True))\n\n\n"
        "main()\n"
    )

    def composed(*words: str) -> tuple[int, str]:
        done = run(program, *words, cwd=tmp_path, **QUIET)
        return done.returncode, done.text

    return composed


def test_it_is_there_where_it_is_asked_for(app, tmp_path):
    status, text = app()
    assert status == 0
    assert yaml.safe_load(text) == {"optimizer": {"mine": True}, "own": 1}
    status, text = app("+schedule=cosine", "schedule.warmup=5%")
    assert yaml.safe_load(text)["schedule"]["warmup"] == "5%"
    points = tmp_path / "points.csv"
    points.write_text("p,factor\n0,1\n1,0\n")
    status, text = app("+schedule@any.key=table", f"any.key.csv={points}")
    assert status == 0, text  # the class has read the file
    assert yaml.safe_load(text)["any"]["key"]["points"] is None
    status, text = app("+schedule=join", "schedule@schedule.second=linear")
    assert status == 0, text
    assert yaml.safe_load(text)["schedule"]["second"]["_target_"].startswith("lrdecay.schedules.")


def test_nothing_else_of_ours_is(app):
    status, text = app("optimizer=adam")
    assert status == 1
    assert "Could not find 'optimizer/adam'" in text
    _, text = app("--help")
    assert "optimizer: mine\nschedule: constant, cosine," in text
    assert "trainer:" not in text


def test_their_own_come_first(app, tmp_path):
    (tmp_path / "conf/schedule").mkdir()
    (tmp_path / "conf/schedule/cosine.yaml").write_text("theirs: true\n")
    assert yaml.safe_load(app("+schedule=cosine")[1])["schedule"] == {"theirs": True}
    assert "final" in yaml.safe_load(app("+schedule=linear")[1])["schedule"]


def test_what_they_add_to_the_search_path_comes_first_too(app, tmp_path):
    (tmp_path / "more/schedule").mkdir(parents=True)
    (tmp_path / "more/schedule/cosine.yaml").write_text("theirs: true\n")
    words = [f"hydra.searchpath=[file://{tmp_path}/more]", "+schedule=cosine"]
    assert yaml.safe_load(app(*words)[1])["schedule"] == {"theirs": True}
    assert "final" in yaml.safe_load(app(words[0], "+schedule=linear")[1])["schedule"]


def test_all_of_ours_by_the_search_path(app):
    status, text = app("hydra.searchpath=[pkg://lrdecay.conf]", "+schedule=step", "optimizer=sgd")
    assert status == 0, text
    assert yaml.safe_load(text)["optimizer"]["_target_"] == "torch.optim.SGD"
    assert yaml.safe_load(app("hydra.searchpath=[pkg://lrdecay.conf]", "optimizer=mine")[1])["optimizer"]["mine"]
