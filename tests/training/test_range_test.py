"""The learning-rate range test, as a user runs it and on curves whose answer is known."""

import re

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from support.programs import run_apart

from lrdecay.data import Digits
from lrdecay.errors import ConfigError
from lrdecay.schedules import Cosine
from lrdecay.training.models import MLP
from lrdecay.training.module import Classifier
from lrdecay.training.range_test import Probe, find_steepest, range_test

RATES = np.geomspace(1e-6, 10, 200)


def planted(noise: float = 0.05, seed: int = 0) -> np.ndarray:
    """A loss that falls fastest at 1e-3, is lowest near 1e-1 and explodes at 1."""
    x = np.log10(RATES)
    loss = 2.3 - 1 / (1 + np.exp(-3 * (x + 3))) - 1 + np.exp(4 * x)
    return loss + noise * np.random.default_rng(seed).normal(size=len(x))


class TestJudgement:
    @pytest.mark.parametrize("seed", range(5))
    def test_finds_where_the_loss_falls_fastest(self, seed):
        found = find_steepest(RATES, planted(0.02, seed))
        assert 3e-4 < found.suggestion < 3e-3
        assert found.suggestion < found.lowest < 1

    @pytest.mark.parametrize("where", [20, 90, 120, 150])
    @pytest.mark.parametrize("height", [-100.0, 100.0])
    def test_a_spike_of_one_step_changes_nothing(self, where, height):
        losses = planted()
        spiked = losses.copy()
        spiked[where] += height
        assert find_steepest(RATES, spiked).suggestion == pytest.approx(
            find_steepest(RATES, losses).suggestion, rel=0.3
        )

    def test_a_loss_that_is_no_number_from_the_start(self):
        found = find_steepest(RATES[:1], np.array([np.nan]))
        assert found.suggestion is None
        assert found.verdict.startswith("the loss is nan at the first step already: the model or the data are at fault")

    def test_a_loss_that_soon_is_no_number(self):
        found = find_steepest(np.array([0.1, 0.2, 0.4, 0.8]), np.array([2.3, 2.3, np.inf, np.nan]))
        assert found.suggestion is None
        assert found.verdict == (
            "the loss has exploded at the rate 0.2, after 2 steps of growing: choose lower rates, with --low and --high"
        )

    def test_a_loss_that_falls_only_from_its_own_explosion(self):
        losses = np.concatenate([[2.3], 1e6 * np.exp(-np.linspace(0, 5, 99)) + 10])
        found = find_steepest(np.geomspace(10, 1000, 100), losses)
        assert found.suggestion is None
        assert "lowers the loss by 5%" in found.verdict

    def test_a_flat_loss(self):
        noise = np.random.default_rng(0).normal(size=200)
        found = find_steepest(RATES, 2.3 + 0.02 * noise)
        assert found.suggestion is None
        assert found.verdict == "no rate from 1e-06 to 10 lowers the loss by 5%: widen the range or take more steps"

    def test_a_loss_that_only_rises(self):
        assert find_steepest(RATES, 2.3 + RATES).suggestion is None

    def test_a_range_that_ends_too_early(self):
        found = find_steepest(RATES[:120], planted(0.01)[:120])
        assert found.suggestion is not None
        assert "still falling at the highest rate: widen the range" in found.verdict


def probed(losses: list[float], accumulate: int = 1) -> int:
    """How many of these losses a probe lets pass before it ends the training."""

    class Trainer:
        accumulate_grad_batches = accumulate
        global_step = 0
        should_stop = False

    probe, trainer = Probe(), Trainer()
    for count, loss in enumerate(losses, start=1):
        trainer.global_step += 1
        probe.on_train_batch_end(trainer, None, {"loss": torch.tensor(loss)})
        if trainer.should_stop:
            return count
    return len(losses)


class TestProbe:
    def test_stops_when_the_loss_explodes_but_not_at_a_spike(self):
        losses = [2.0] * 20 + [500.0] + [1.0] * 20
        assert probed(losses) == 41
        assert probed([*losses, *[50.0] * 10]) == 44

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_stops_at_a_loss_that_is_no_number(self, value):
        assert probed([2.0, 2.0, value, 2.0]) == 3

    def test_a_step_without_a_loss_is_refused(self):
        """A module of somebody's own may skip a step, for which Lightning has no outputs."""
        with pytest.raises(ConfigError, match="module: MLP's training_step must return a loss at every step here"):
            Probe().on_train_batch_end(None, MLP(), {})


def test_puts_the_weights_back():
    data = Digits()
    data.prepare(seed=1, device=torch.device("cpu"))
    schedule = Cosine()
    module = Classifier(MLP(), schedule, lambda model: torch.optim.SGD(model.parameters(), lr=1.0))
    before = {key: value.clone() for key, value in module.state_dict().items()}
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=-1, max_steps=40, logger=False, callbacks=[Probe()], limit_val_batches=0,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    found = range_test(module, trainer, data, low=1e-4, high=0.1)
    assert len(found.losses) == 40
    assert found.losses[-5:].mean() < found.losses[:5].mean()
    assert found.rates[0] == pytest.approx(1e-4)
    assert found.rates[-1] == pytest.approx(0.1)
    assert module.course.schedule is schedule
    for key, value in module.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.slow
class TestScript:
    def find(self, tmp_path, *arguments: str, **environment: str):
        return run_apart("scripts/find_lr.py", "data=digits", *arguments, cwd=tmp_path, **environment)

    @pytest.mark.parametrize("mode", ["exponential", "linear"])
    def test_suggests_a_rate_and_draws_it(self, tmp_path, mode):
        done = self.find(tmp_path, "model=mlp", "--mode", mode)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        assert re.search(r"^digits: MLP, Adam: the loss falls fastest at ", done.stdout)
        rate = float(re.search(r"^optimizer\.lr=(.*)$", done.stdout, re.MULTILINE)[1])
        assert 1e-4 < rate < 2e-2
        assert (tmp_path / "outputs/find_lr.png").read_bytes().startswith(b"\x89PNG")
        assert [path.name for path in (tmp_path / "outputs").iterdir()] == ["find_lr.png"]

    def test_apply_prints_an_override_that_train_takes(self, train, tmp_path):
        found = self.find(tmp_path, "model=mlp", "optimizer=schedule_free_sgd", "--apply", "--steps", "100")
        assert found.returncode == 0, found.stderr
        assert re.fullmatch(r"optimizer\.lr=\S+\n", found.stdout)
        done = train("model=mlp", "optimizer=schedule_free_sgd", found.stdout.strip(), "trainer.max_epochs=1")
        assert done.returncode == 0, done.stderr
        assert f"lr {float(found.stdout.split('=')[1]):g}" in done.stdout

    @pytest.mark.parametrize(
        "odd",
        [["trainer=ddp_cpu"], ["experiment=demo"], ["debug=profile"], ["schedule=greedy", "scale.metric=val/acc"],
         ["logger=wandb", "logger.wandb.offline=true"], ["debug=fast_dev_run"]],
        ids=" ".join,
    )  # fmt: skip
    def test_takes_the_configuration_of_any_training(self, tmp_path, odd):
        plain, other = (self.find(tmp_path, "model=mlp", "--steps", "60", "--apply", *more) for more in ([], odd))
        assert other.returncode == 0, other.stderr
        rates = [float(done.stdout.removeprefix("optimizer.lr=")) for done in (plain, other)]
        assert rates[0] == rates[1] or odd == ["experiment=demo"]

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--low", "1e-12", "--high", "1e-10"], "lowers the loss by 5%: widen the range"),
            (["optimizer=sgd", "--low", "1e6", "--high", "1e10"], "after 2 steps of growing: choose lower rates"),
            (["optimizer=sgd", "--low", "3", "--high", "1e6"], "steps of growing: choose lower rates"),
        ],
    )
    def test_says_why_there_is_nothing_to_suggest(self, tmp_path, arguments, words):
        done = self.find(tmp_path, "model=mlp", *arguments)
        assert done.returncode == 1
        assert words in done.stdout
        assert done.stderr == "error: find-lr: has no rate to suggest\n"

    def test_a_model_whose_loss_is_no_number(self, tmp_path):
        (tmp_path / "mine.py").write_text(
            "import torch\n"
            "class Broken(torch.nn.Sequential):\n"
            "    def __init__(self, **ignored):\n"
            "        super().__init__(torch.nn.Flatten(), torch.nn.Linear(784, 10))\n"
            "        torch.nn.init.constant_(self[1].weight, float('nan'))\n"
        )
        done = self.find(tmp_path, "model._target_=mine.Broken", PYTHONPATH=str(tmp_path))
        assert done.returncode == 1
        assert "the loss is nan at the first step already" in done.stdout

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--low", "1", "--high", "0.1"], "--high=0.1: must be a number above --low=1"),
            (["--low", "0"], "--low=0.0: must be a number above 0"),
            (["--low", "nan"], "--low=nan: must be a number above 0"),
            (["--steps", "3"], "--steps=3: must be an integer, at least 20"),
            (["seed=1,2"], "find-lr: must have one configuration, not 2"),
            (["--output", "x.pdf"], "--output=x.pdf: must be a file that ends in .png"),
            (["optimizer=lion"], "optimizer=lion: must be one of adagrad"),
            (["model.hidden=[0]", "model=mlp"], "model.hidden=0: must be an integer, at least 1"),
        ],
        ids=lambda value: value if isinstance(value, str) else " ".join(value),
    )
    def test_a_mistake_is_one_line(self, tmp_path, arguments, message):
        done = self.find(tmp_path, *arguments)
        assert done.returncode == 1
        assert done.stderr.splitlines() == [done.stderr.strip()]
        assert done.stderr.startswith(f"error: {message}")
