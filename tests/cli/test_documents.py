"""The Python of README and CONTRIBUTING is run, not trusted."""

import math
import random
import re
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from support.oracles import Pair, run
from support.programs import ROOT, run_apart

import lrdecay
import lrdecay.adapters.torch
from lrdecay.errors import BadValue
from lrdecay.schedules import Horizon, Schedule

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README + (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)


@pytest.fixture
def names() -> dict:
    """What the first block leaves behind."""
    namespace: dict = {}
    exec(BLOCKS[0], namespace)
    return namespace


def line(start: str) -> str:
    """The one line of an adapter in the table."""
    rows = [row for row in README.splitlines() if row.startswith("|")]
    (found,) = [code for row in rows for code in re.findall(r"`([^`]+)`", row) if code.startswith(start)]
    return found


def test_a_rate_without_any_framework(names):
    assert names["rate"] == pytest.approx(1e-3 * 400 / 750)  # within the warm-up of 5%


@pytest.mark.parametrize("command", re.findall(r"^python (scripts/(?:preview|find_lr).*)$", README, re.MULTILINE))
def test_a_command_for_schedules(command, tmp_path):
    script, *arguments = command.split()
    done = run_apart(script, *arguments, cwd=tmp_path, LRDECAY_DATA="nowhere")
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "outputs").glob("*.png"))


def test_in_a_plain_torch_loop(names):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    scheduler = eval(line("lrdecay.adapters.torch."), names | {"lrdecay": lrdecay, "optimizer": optimizer})
    for _ in range(400):
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(names["rate"], rel=1e-12)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # Keras' own
def test_in_keras(names):
    keras = pytest.importorskip("keras", reason="the oracles extra is not installed")
    import lrdecay.adapters.keras

    optimizer = eval(line("keras.optimizers"), names | {"keras": keras, "lrdecay": lrdecay})
    optimizer.iterations.assign(400)
    assert float(keras.ops.convert_to_numpy(optimizer.learning_rate)) == pytest.approx(names["rate"], rel=1e-6)


def test_in_a_lightning_trainer(names, tmp_path):
    import pytorch_lightning as pl

    import lrdecay.adapters.lightning

    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def training_step(self, batch, index):
            return self.layer(batch).sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=1e-3)

    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}

    def trainer(**arguments):
        return pl.Trainer(default_root_dir=tmp_path, max_steps=15_000, enable_model_summary=False, **quiet, **arguments)

    run = eval(line("Trainer(callbacks"), names | {"Trainer": trainer, "lrdecay": lrdecay})
    module = Module()
    module.on_train_batch_end = lambda *_: setattr(run, "should_stop", run.global_step == 400)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(?!schedule: planned)|schedule: .* and 400 were taken")
        run.fit(module, torch.utils.data.DataLoader(torch.ones(750, 1)))
    assert run.optimizers[0].param_groups[0]["lr"] == pytest.approx(names["rate"], rel=1e-12)


def test_in_optax(names):
    optax = pytest.importorskip("optax", reason="the oracles extra is not installed")
    import jax
    import jax.numpy as jnp

    import lrdecay.adapters.optax

    optimizer = eval(line("optax.adam"), names | {"optax": optax, "lrdecay": lrdecay})
    parameters = jnp.zeros(1)
    state, update = optimizer.init(parameters), jax.jit(optimizer.update)
    updates = []
    for _ in range(3):
        change, state = update(jnp.ones(1), state, parameters)
        updates.append(-float(change[0]))  # Adam's own step is 1 for a gradient that stays the same
    np.testing.assert_allclose(
        updates, 1e-3 * names["schedule"].factor(range(3), names["horizon"]), rtol=1e-4, atol=1e-9
    )


def test_a_schedule_of_ones_own():
    namespace = {"dataclass": dataclass, "np": np, "Schedule": Schedule, "__name__": "readme"}
    exec(BLOCKS[1], namespace)
    schedule = namespace["Logarithmic"](warmup=10)
    assert schedule.factor(10 + 9, Horizon(10 + 99, 10)) == pytest.approx(0.5)
    assert schedule.factor(10 + 99, Horizon(10 + 99, 10)) == 0
    with pytest.raises(BadValue, match=r"^sharpness=0: must be a number in \(0, ∞\)"):
        namespace["Logarithmic"](sharpness=0)
    rows: list = []
    helpers = {"run": run, "Pair": Pair, "math": math, "row": lambda name: rows.append}
    exec(BLOCKS[2], namespace | helpers)
    pair = rows[0](random.Random(1))
    np.testing.assert_allclose(pair.ours, pair.theirs, rtol=1e-11, atol=1e-14)
