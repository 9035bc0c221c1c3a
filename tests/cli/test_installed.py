"""What ``pip install`` gives to those who have no checkout: a wheel is built, installed, and used elsewhere."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
from support.programs import ENVIRONMENT, ROOT

from lrdecay.records.record import find, read

SMALL = ["data=digits", "model=mlp", "trainer.max_epochs=1"]


@pytest.fixture(scope="session")
def installed(tmp_path_factory) -> Path:
    """The folder that the wheel is installed into, without what it needs."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for name in ("conf", "src"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "--target", target, source], check=True)
    return target


@pytest.fixture
def lrdecay(installed, tmp_path):
    """Runs the installed command in an empty folder."""

    def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, installed / "bin/lrdecay", *words],
            cwd=tmp_path,
            env=os.environ | ENVIRONMENT | {"PYTHONPATH": str(installed)} | environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


def test_every_package_is_named():
    """Or it is missing from the wheel."""
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    there = {file.parent.relative_to(ROOT / "src") for file in (ROOT / "src").rglob("*.py")}
    assert set(named) == {".".join(folder.parts) for folder in there} | {"lrdecay.conf", "hydra_plugins"}


def test_every_file_is_there(installed):
    for folder, package in ((ROOT / "src", ""), (ROOT / "conf", "lrdecay/conf")):
        kept = [file for file in folder.rglob("*") if file.is_file() and file.suffix != ".pyc"]
        for file in (file.relative_to(folder) for file in kept if "egg-info" not in str(file)):
            assert (installed / package / file).is_file(), file


def test_schedules_take_numpy_and_nothing_else(installed, tmp_path):
    site = Path(sysconfig.get_paths()["purelib"])
    for name in ("numpy", "numpy.libs"):
        if (site / name).exists():
            (tmp_path / name).symlink_to(site / name)
    program = f"import sys; sys.path[:0] = {[str(installed), str(tmp_path)]}"
    use = "from lrdecay import *; print(Cosine().over(Horizon(100, 10))(50))"
    alone = [sys.executable, "-I", "-S", "-c"]
    assert subprocess.run([*alone, f"{program}; {use}"], capture_output=True, text=True).stdout == "0.5\n"
    command = f"{program}; sys.argv = ['lrdecay', 'train']; from lrdecay.cli.program import main; main()"
    done = subprocess.run([*alone, command], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "error: lrdecay train needs hydra, which is not installed: pip install lrdecay\n"


def test_a_sweep_and_what_is_done_with_it(lrdecay, tmp_path):
    sweep = lrdecay("train", "-m", *SMALL, "schedule=constant,cosine", "name=two", "hydra/launcher=parallel")
    assert sweep.returncode == 0, sweep.stderr
    folder = tmp_path / "outputs/sweeps/two"
    assert len(find([folder])) == 2
    compared = lrdecay("compare", "outputs/sweeps/two")
    assert compared.returncode == 0, compared.stderr
    assert '"command":"lrdecay train data=digits' in (folder / "report.html").read_text()
    tested = lrdecay("evaluate", *map(str, folder.glob("0*")))
    assert tested.returncode == 0, tested.stderr
    assert tested.stdout.count("recorded") == 4
    again = lrdecay("train", f"resume={next(folder.glob('01*'))}")
    assert "complete" in again.stdout + again.stderr


def test_a_model_of_ones_own_in_several_processes(lrdecay, tmp_path):
    """The other processes are started by the command too, and find it in the folder where one works."""
    (tmp_path / "mine.py").write_text(
        "import torch\n\nclass Net(torch.nn.Sequential):\n"
        "    def __init__(self, classes):\n"
        "        super().__init__(torch.nn.Flatten(), torch.nn.Linear(784, classes))\n"
    )
    (tmp_path / "conf/model").mkdir(parents=True)
    (tmp_path / "conf/model/mine.yaml").write_text("_target_: mine.Net\nclasses: null\n")
    words = ["--config-dir", "conf", "model=mine", "data=digits", "trainer=ddp_cpu", "trainer.max_epochs=1"]
    done = lrdecay("train", *words)
    assert done.returncode == 0, done.stderr
    (file,) = find([tmp_path / "outputs"])
    record = read(file)
    assert record.plan.parameters == 7850
    assert record.outcome.status == "completed"


def test_a_claim_trains_what_is_missing(lrdecay):
    small = ["data.train_size=200", "data.val_size=100", "name=tiny", "hydra.launcher.processes=2", "seed=1"]
    done = lrdecay("claims", "mnist1d/decays_to_zero", *SMALL, *small)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("lrdecay train -m experiment=claims/mnist1d/decays_to_zero")
    assert "2 runs" in done.stdout


def test_a_claim_of_ones_own(lrdecay, tmp_path):
    (tmp_path / "conf/experiment/claims").mkdir(parents=True)
    (tmp_path / "conf/experiment/claims/mine.yaml").write_text(
        "# @package _global_\ndefaults: [{override /data: digits}, {override /model: mlp}]\nname: mine\n"
        "hydra: {sweeper: {params: {schedule: 'constant,cosine', seed: '1,2'}}}\n"
        "data: {train_size: 200, val_size: 100}\ntrainer: {max_epochs: 1}\n"
        "claim:\n  says: Decay helps.\n  source: me\n  baseline: constant\n"
        "  parts: [{groups: [cosine], measures: [val/loss], expect: better}]\n"
        "  supported: it does\n  refuted: it harms\n"
    )
    for named in (["mine"], []):  # where none is named, those of the folder are meant
        done = lrdecay("claims", "--config-dir", "conf", *named)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("lrdecay train --config-dir conf -m experiment=claims/mine hydra/")
        assert "4 runs of 2 seeds on digits" in done.stdout
    (tmp_path / "conf/experiment/claims/faster.yaml").touch()
    (tmp_path / "empty").mkdir()
    none = lrdecay("claims", "--config-dir", "empty")
    assert none.stderr == "error: --config-dir=empty: must have claims in experiment/claims\n"
    done = lrdecay("claims", "--config-dir", "conf")
    assert done.stderr == "error: claim faster: must have a name of its own in conf; lrdecay has one of this name\n"


@pytest.mark.parametrize("command", ["preview", "find-lr", "compare", "predict", "refine", "evaluate", "claims"])
def test_help_names_the_command_as_it_is_called(lrdecay, command):
    done = lrdecay(command, "--help")
    assert done.stdout.startswith(f"usage: lrdecay {command} ")
    assert f"\nlrdecay {command} " in done.stdout
    assert "scripts/" not in done.stdout


def test_help_and_what_is_no_command(lrdecay):
    assert "lrdecay train -m schedule=constant,step,cosine seed=1,2,3" in lrdecay("train", "--help").stdout
    assert lrdecay("--help").stdout == lrdecay().stdout
    assert lrdecay("--version").stdout[0].isdigit()
    done = lrdecay("trian", "schedule=cosine")
    assert done.returncode == 1
    assert done.stderr.startswith("error: lrdecay trian: must be one of train, preview, ")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("lrdecay ", {"train", "compare", "find-lr"}),
        ("lrdecay fi", {"find-lr"}),
        ("lrdecay train schedule=cosine_", {"schedule=cosine_restarts", "schedule=cosine_warmup"}),
        ("lrdecay train -m schedule=step,flat", {"schedule=step,flat_cosine"}),
        ("lrdecay train optimiz", {"optimizer=", "optimizer."}),
        ("lrdecay preview schedule=step schedule.gam", {"schedule.gamma="}),
        ("lrdecay train +schedule@scheduled.model.dropout=tan", {"+schedule@scheduled.model.dropout=tanh"}),
        ("lrdecay train -m schedule=step,cosine schedule.warmup_f", {"schedule.warmup_from="}),
        ("lrdecay train 'schedule.points=[[0, 1]]' optimizer=rms", {"optimizer=rmsprop"}),
        ("lrdecay preview --bou", {"--bound"}),
        ("lrdecay compare outp", {"outputs/"}),
        ("lrdecay claims stabler_", {"stabler_sgd"}),
        ("lrdecay claims nonsense", set()),
        ("lrdecay nonsense ", set()),
    ],
)
def test_a_shell_completes(lrdecay, tmp_path, line, expected):
    (tmp_path / "outputs").mkdir()
    asked = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "COMP_LINE": line, "COMP_POINT": str(len(line))}
    file = tmp_path / "found"
    lrdecay(**asked, _ARGCOMPLETE_SUPPRESS_SPACE="1", _ARGCOMPLETE_STDOUT_FILENAME=str(file))
    found = set(file.read_text().split("\n")) if file.exists() else set()
    assert expected <= found if len(expected) > 2 else found - {""} == expected
