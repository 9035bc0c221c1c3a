"""What ``import lrdecay`` gives, and what it costs."""

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.records import a_run, write_runs

import lrdecay
from lrdecay import Schedule, schedules
from lrdecay.errors import ConfigError


def imported(code: str) -> set[str]:
    """The top-level packages that a fresh process has imported after that code."""
    code = f"import sys; {code}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


HEAVY = {"torch", "hydra", "omegaconf", "pandas", "scipy", "matplotlib", "pytorch_lightning", "msgspec", "rich"}


def test_schedules_take_numpy_alone():
    found = imported("from lrdecay import Cosine, Horizon; Cosine().over(Horizon(100, 10))(50)")
    assert "numpy" in found
    assert not found & HEAVY


def test_the_command_line_loads_no_torch_to_print_its_help():
    assert not imported("import lrdecay.cli.train") & {"torch", "pandas", "matplotlib", "numpy"}


def test_every_public_name_is_there_and_no_other():
    assert set(lrdecay.__all__) == {name for name in lrdecay.__all__ if getattr(lrdecay, name) is not None}
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        lrdecay.nonsense  # noqa: B018
    assert lrdecay.__version__[0].isdigit()


def test_every_schedule_is_public():
    kinds = {name for name in schedules.__all__ if issubclass(getattr(schedules, name), Schedule)}
    assert kinds <= set(lrdecay.__all__)


def test_it_says_that_it_is_typed():
    assert (Path(lrdecay.__file__).parent / "py.typed").is_file()


SHAPES = [name for name in lrdecay.__all__ if name[0].isupper() and name not in ("Schedule", "Horizon")]


@pytest.mark.parametrize("name", SHAPES)
def test_every_schedule_has_an_example(name):
    """Which the doctests run."""
    assert ">>> " in inspect.getdoc(getattr(lrdecay, name))


def test_a_schedule_over_a_run_is_a_function_of_the_step():
    schedule, horizon = lrdecay.Cosine(warmup="10%"), lrdecay.Horizon(total_steps=100, steps_per_epoch=10)
    factor = schedule.over(horizon)
    assert factor(55) == schedule.factor(55, horizon) == 0.5
    np.testing.assert_array_equal(factor([0, 10]), [0, 1])
    with pytest.raises(ValueError, match="must be at most the run's 5"):
        lrdecay.Cosine(warmup=10).over(lrdecay.Horizon(5, 5))


def test_runs_are_loaded_and_compared_as_data(tmp_path):
    write_runs(tmp_path / "a", [a_run("constant", seed, 0.90 + seed / 1000) for seed in (1, 2, 3)])
    write_runs(tmp_path / "b", [a_run("cosine", seed, 0.92 + seed / 999) for seed in (1, 2, 3)])
    runs = lrdecay.load(tmp_path / "a", tmp_path / "b")
    assert [run.plan.config["seed"] for run in runs] == [1, 2, 3, 1, 2, 3]
    assert runs[0].outcome.final["val/acc"] == pytest.approx(0.901)
    comparison = lrdecay.compare(runs)
    assert [group.label for group in comparison.groups] == ["constant", "cosine"]
    row = comparison.row(comparison.groups[1], "test/acc")
    assert row["verdict"] == "better"
    assert row["difference"] == pytest.approx(0.02, abs=1e-3)


def test_what_cannot_be_loaded_or_compared(tmp_path):
    with pytest.raises(ConfigError, match="no such folder"):
        lrdecay.load(tmp_path / "nowhere")
    write_runs(tmp_path / "a", [a_run(data="digits"), a_run(data="mnist", seed=2)])
    (tmp_path / "a/broken").mkdir()
    (tmp_path / "a/broken/record.json").write_text("{")
    with pytest.warns(UserWarning, match="broken/record.json: not a complete record"):
        runs = lrdecay.load(tmp_path)
    with pytest.raises(ConfigError, match="must be on one data set, not digits, mnist"):
        lrdecay.compare(runs)
    with pytest.raises(ConfigError, match="must be on one data set, not none"):
        lrdecay.compare([])
