"""The example of modules that are not ours: its commands, as its text has them."""

import re
import shutil

import pandas as pd
import pytest
from support.programs import ROOT, fresh

EXAMPLE = ROOT / "examples/own_module"
COMMANDS = re.findall(r"^lrdecay (train .*)$", (EXAMPLE / "own_module.py").read_text(), re.MULTILINE)


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(EXAMPLE, tmp_path / "own", ignore=shutil.ignore_patterns("outputs", "__pycache__"))


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command(command, folder):
    """Those of the shell, but for fewer epochs."""
    words = [word.strip("'") for word in command.split()]
    done = fresh("src/lrdecay/__main__.py", *words, "trainer.max_epochs=2", cwd=folder)
    assert done.returncode == 0, done.stderr
    if "-m" not in words:
        assert re.search(r"^Diabetes: test_rmse 0\.\d+ · val_rmse", done.stdout, re.MULTILINE)
        return
    (table,) = (folder / "outputs/sweeps").glob("*/comparison.csv")
    measured = set(pd.read_csv(table).measure)
    assert {"test_rmse", "val_r2"} < measured if "experiment=diabetes" in words else {"test/loss"} < measured


def test_there_are_commands_for_both():
    assert {"diabetes", "autoencoder"} <= {word for text in COMMANDS for word in re.findall(r"experiment=(\w+)", text)}
