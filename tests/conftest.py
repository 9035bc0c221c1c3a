"""Tests run the real programs as a user would, in a folder of their own, on the digits that need no download."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.programs import ROOT, Program, run_apart

os.environ.setdefault("KERAS_BACKEND", "torch")


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., Program]:
    """Runs ``train.py [flags] data=digits …`` in a fresh folder."""

    def run(*arguments: str, **environment: str) -> Program:
        flags = list(itertools.takewhile(lambda argument: "=" not in argument, arguments))
        return run_apart("train.py", *flags, "data=digits", *arguments[len(flags) :], cwd=tmp_path, **environment)

    return run


@pytest.fixture(scope="session")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Program]:
    """A sweep of four: its folder, and what the command printed."""
    folder = tmp_path_factory.mktemp("sweep")
    arguments = ["-m", "data=digits", "schedule=cosine,step", "seed=1,2", "trainer.max_epochs=3", "name=four"]
    return folder / "outputs/sweeps/four", run_apart("train.py", *arguments, cwd=folder)


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """The folder with the real MNIST."""
    root = Path(os.environ.get("LRDECAY_DATA", ROOT / "data")).absolute()
    if not (root / "MNIST/raw/train-images-idx3-ubyte").is_file():
        pytest.skip("MNIST is not on disk: set LRDECAY_DATA")
    return root


@pytest.fixture(scope="session")
def shakespeare_root() -> Path:
    """The folder with the text of Shakespeare's plays."""
    root = Path(os.environ.get("LRDECAY_DATA", ROOT / "data")).absolute()
    if not (root / "tinyshakespeare/input.txt").is_file():
        pytest.skip("tinyshakespeare is not on disk: set LRDECAY_DATA")
    return root


@pytest.fixture(scope="session")
def llm_curves() -> Path:
    """The folder with curves of language models' trainings."""
    root = Path(os.environ.get("LRDECAY_DATA", ROOT / "data")).absolute() / "llm_curves"
    if not (root / "curves.csv").is_file():
        pytest.skip("curves of language models are not on disk: set LRDECAY_DATA")
    return root


SLOW = {"cli", "examples", "runs", "sweeps"}
"""Folders whose tests start programs; those elsewhere that do are marked one by one."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name in SLOW:
            item.add_marker("slow")
