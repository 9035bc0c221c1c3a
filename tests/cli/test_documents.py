"""What README, CONTRIBUTING and the site say is run, not trusted."""

import math
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from support.oracles import Pair, run
from support.programs import NO_NETWORK, ROOT, run_apart

import lrdecay
import lrdecay.adapters.torch
from lrdecay.errors import BadValue
from lrdecay.schedules import Horizon, Schedule

DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text()
PAGES = {
    path: path.read_text() for folder in ("tutorials", "how-to", "explanation") for path in (DOCS / folder).glob("*.md")
}
OWN_PROJECT = PAGES[DOCS / "how-to/own-project.md"]
EXTENDING = (ROOT / "CONTRIBUTING.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    """What stands in a text between fences of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.fixture
def names() -> dict:
    """What the first block leaves behind."""
    namespace: dict = {}
    exec(blocks(OWN_PROJECT, "python")[0], namespace)
    return namespace


def line(start: str) -> str:
    """The one line of an adapter in the table."""
    rows = [row for row in OWN_PROJECT.splitlines() if row.startswith("|")]
    (found,) = [code for row in rows for code in re.findall(r"`([^`]+)`", row) if code.startswith(start)]
    return found


def test_a_rate_without_any_framework(names):
    assert names["rate"] == pytest.approx(1e-3 * 400 / 750)  # within the warm-up of 5%


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
    exec(blocks(EXTENDING, "python")[0], namespace)
    schedule = namespace["Logarithmic"](warmup=10)
    assert schedule.factor(10 + 9, Horizon(10 + 99, 10)) == pytest.approx(0.5)
    assert schedule.factor(10 + 99, Horizon(10 + 99, 10)) == 0
    with pytest.raises(BadValue, match=r"^sharpness=0: must be a number in \(0, ∞\)"):
        namespace["Logarithmic"](sharpness=0)
    rows: list = []
    helpers = {"run": run, "Pair": Pair, "math": math, "row": lambda name: rows.append}
    exec(blocks(EXTENDING, "python")[1], namespace | helpers)
    pair = rows[0](random.Random(1))
    np.testing.assert_allclose(pair.ours, pair.theirs, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("text", [README, PAGES[DOCS / "tutorials/own-project.md"]], ids=["README", "tutorial"])
def test_the_python_that_needs_nothing_else(text, capsys):
    namespace: dict = {}
    for block in blocks(text, "python"):
        exec(block, namespace)
    if "rates" in namespace:
        assert namespace["rates"].get_last_lr() == [pytest.approx(1e-5)]
        assert capsys.readouterr().out.startswith("[0.")
    else:
        assert namespace["rate"] == pytest.approx(1e-3 * 400 / 750)


SHELL = ("cd ", "source ", "tensorboard ", "make ", "python -m venv ", ".venv/bin/pip ")
"""What other tests run, and what is nobody's but the shell's."""
SMALL = ["data=digits", "data.train_size=200", "data.val_size=50", "model=mlp", "+trainer.limit_train_batches=2"]
"""Makes a training short, whatever it is; a command's own words come behind these."""
GROUPS = "optimizer.groups=[{match: head, lr: 0.1}, {match: bias, weight_decay: 0}]"
INSTEAD = {
    "experiment=article": "experiment=demo hydra.sweeper.params.seed=1 data.train_size=100 trainer.max_epochs=1",
    "experiment=shakespeare": "experiment=mnist1d",
    "hydra.sweeper.n_trials=40": "hydra.sweeper.n_trials=2",
    "hydra.sweeper.seeds=3": "hydra.sweeper.seeds=1 hydra.sweeper.fresh_seeds=0",
    "trainer.precision=bf16-mixed": "",
    "duration=30min": "duration=3s",
    "logger=wandb": "logger=csv",
    GROUPS: "'optimizer.groups=[{match: bias, lr: 2}]'",
}
"""Words that would take long or need a download, and what is run in their place."""
ELSEWHERE = {
    "scripts/predict.py": "tests/cli/test_predict.py, with the sweeps that it needs",
    "scripts/refine.py": "tests/cli/test_refine.py, with a run that has gradient norms",
    "scripts/claims.py": "tests/cli/test_claims.py",
    "scripts/benchmark.py": "tests of its own parts",
    "lrdecay train --config-dir": "tests/examples/test_own_module.py",
    "lrdecay ": "tests/cli/test_installed.py",
    "curve.csv": "tests/runs/test_intentions.py, with a file",
}
"""Commands that tests of their own run, in the setting that they need."""


def commands() -> list[str]:
    """Every command in the pages, a line each."""
    texts = [block.replace("\\\n", " ") for text in PAGES.values() for block in blocks(text, "(?:sh|bash)")]
    lines = [re.sub(r" +# .*", "", line).strip() for text in texts for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("#", *SHELL))]
    return sorted({line for line in lines if not any(start in line for start in ELSEWHERE)})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a run and sweeps under the names that the pages use."""
    folder = tmp_path_factory.mktemp("trained")
    words = [*SMALL, "trainer.max_epochs=2"]
    assert run_apart("train.py", *words, "hydra.run.dir=outputs/runs/NAME", cwd=folder).returncode == 0
    for name in ("NAME", "rates"):
        swept = [*words, "schedule=constant,cosine", "optimizer.lr=1e-3,1e-2", "seed=1,2,3", f"name={name}"]
        assert run_apart("train.py", "-m", *swept, cwd=folder).returncode == 0
    return folder


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_pages(command, trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "trained")
    for part in command.removeprefix("rate=$(").replace("--apply) && ", "--apply\n").replace(" $rate", "").splitlines():
        program, script, *words = shlex.split(part)
        assert program == "python"
        words = [word for given in words for word in shlex.split(INSTEAD.get(given, shlex.quote(given)))]
        if script == "train.py" and not any(word.startswith(("resume", "experiment", "--cfg")) for word in words):
            words = [*(["-m"] if "-m" in words else []), *SMALL, *(word for word in words if word != "-m")]
            words = _last_of_each(words)
        if script.endswith("find_lr.py"):
            words += ["model=mlp", "--steps", "30"]
        done = run_apart(script, *words, cwd=folder, LRDECAY_DATA="nowhere")
        assert done.returncode == 0, done.stderr


def _last_of_each(words: list[str]) -> list[str]:
    """The words without those whose key comes again."""
    return [
        word
        for place, word in enumerate(words)
        if word.split("=")[0] not in {w.split("=")[0] for w in words[place + 1 :]}
    ]


def test_the_readme_is_short_and_its_links_lead_somewhere():
    assert len(README.splitlines()) <= 150
    for text, folder in [(README, ROOT), (EXTENDING, ROOT)]:
        for link in re.findall(r"\]\((?!http)([^)#]+)", text):
            assert (folder / link).exists(), link


def test_the_site_is_whole(tmp_path):
    """Strictly: links and references lead somewhere; each schedule has a page; nothing is fetched from elsewhere."""
    pytest.importorskip("mkdocs", reason="the docs extra is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=ROOT, capture_output=True, text=True, env=os.environ | NO_NETWORK | {"NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pages = {path.stem for path in (tmp_path / "site/reference/schedules").glob("*.html")}
    assert pages == {path.stem for path in (ROOT / "conf/schedule").glob("*.yaml")}
    keys = (tmp_path / "site/reference/keys.html").read_text()
    known = "seed schedule.warmup trainer.max_epochs hydra.sweeper.n_trials data.shift optimizer.groups schedule.k"
    for key in (*known.split(), "schedule@schedule.second"):
        assert f"<code>{key}</code>" in keys
    fetched = [
        (path.name, url) for path in (tmp_path / "site").rglob("*.html")
        for url in re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=\"?(https?://[^\" >]+)", path.read_text())
    ]  # fmt: skip
    assert fetched == []
