"""Schedules in Lightning modules of other people, trained by a real trainer."""

import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import LearningRateMonitor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from lrdecay import Cosine, Horizon, Step
from lrdecay.adapters.lightning import ScheduleCallback, configured, horizon_of
from lrdecay.errors import BadValue

QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}


def loader(items: int = 40, batch_size: int = 4) -> DataLoader:
    images = torch.randn(items, 3, generator=torch.Generator().manual_seed(1))
    return DataLoader(TensorDataset(images, images.sum(1, keepdim=True)), batch_size=batch_size)


def trainer(folder, **arguments) -> pl.Trainer:
    return pl.Trainer(default_root_dir=folder, **{"enable_checkpointing": False} | QUIET | arguments)


class Regression(pl.LightningModule):
    """Of an author who schedules nothing."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)
        self.rates: list = []

    def training_step(self, batch, _):
        images, targets = batch
        return torch.nn.functional.mse_loss(self.layer(images), targets)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)

    def on_before_optimizer_step(self, optimizer):
        self.rates.append(optimizer.param_groups[0]["lr"])


class Scheduled(Regression):
    """Of an author who takes the one line."""

    def __init__(self, schedule, **options):
        super().__init__()
        self.schedule, self.options = schedule, options

    def configure_optimizers(self):
        return configured(self, super().configure_optimizers(), self.schedule, **self.options)


class Adversaries(Regression):
    """Two optimizers by hand, of which the second steps only at every other batch."""

    def __init__(self):
        super().__init__()
        self.other = torch.nn.Linear(3, 1)
        self.automatic_optimization = False
        self.both: tuple[list, list] = ([], [])

    def training_step(self, batch, index):
        for which, optimizer in enumerate(self.optimizers()):
            if which == 0 or index % 2 == 0:
                optimizer.zero_grad()
                network = (self.layer, self.other)[which]
                self.manual_backward(network(batch[0]).square().mean())
                self.both[which].append(optimizer.param_groups[0]["lr"])
                optimizer.step()

    def configure_optimizers(self):
        return [torch.optim.SGD(layer.parameters(), lr=0.1) for layer in (self.layer, self.other)]

    def on_before_optimizer_step(self, optimizer):
        pass


def both_ways(schedule, folder, **arguments) -> list[list[float]]:
    """The rates of the steps with the line, and with the callback."""
    modules = Scheduled(schedule), Regression()
    trainer(folder, **arguments).fit(modules[0], loader())
    trainer(folder, callbacks=[ScheduleCallback(schedule)], **arguments).fit(modules[1], loader())
    return [module.rates for module in modules]


@pytest.mark.parametrize(
    ("arguments", "horizon"),
    [
        ({"max_epochs": 3}, Horizon(30, 10)),
        ({"max_epochs": 3, "accumulate_grad_batches": 4}, Horizon(9, 3)),
        ({"max_steps": 17}, Horizon(17, 10)),
        ({"max_epochs": 2, "limit_train_batches": 5}, Horizon(10, 5)),
    ],
)
def test_the_rate_of_every_step_is_the_schedules(tmp_path, arguments, horizon):
    schedule = Cosine(warmup="0.5ep", final=0.1)
    expected = 0.1 * schedule.factor(range(horizon.total_steps), horizon)
    for rates in both_ways(schedule, tmp_path, **arguments):
        np.testing.assert_allclose(rates, expected, rtol=1e-12)


def test_momentum_goes_with_the_rate(tmp_path):
    module = Regression()
    callback = ScheduleCallback(Cosine(momentum=(0.5, 0.9)))
    trainer(tmp_path, max_epochs=1, callbacks=[callback]).fit(module, loader())
    assert module.optimizers().param_groups[0]["momentum"] == pytest.approx(0.9)


def test_each_of_several_optimizers_follows_its_own_steps(tmp_path):
    module, schedule = Adversaries(), Step(every=2, gamma=0.5)
    run = trainer(tmp_path, max_epochs=1, callbacks=[ScheduleCallback(schedule, Horizon(10, 10))])
    with pytest.warns(UserWarning, match="planned for 10 steps, and 5 were taken"):
        run.fit(module, loader())
    for rates, steps in zip(module.both, (10, 5), strict=True):
        np.testing.assert_allclose(rates, 0.1 * schedule.factor(range(steps), Horizon(10, 10)))


@pytest.mark.parametrize("way", ["line", "callback"])
def test_a_run_goes_on_from_its_checkpoint(tmp_path, way):
    schedule, callbacks = Cosine(), []
    if way == "callback":
        callbacks = [ScheduleCallback(schedule)]

    def module():
        return Scheduled(schedule) if way == "line" else Regression()

    whole, part = module(), module()
    trainer(tmp_path, max_epochs=4, callbacks=callbacks).fit(whole, loader())
    stopped = trainer(tmp_path, max_epochs=4, callbacks=callbacks)
    part.on_train_epoch_end = lambda: setattr(stopped, "should_stop", stopped.current_epoch == 1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "schedule: planned for 40 steps, and 20 were taken")
        stopped.fit(part, loader())
    stopped.save_checkpoint(tmp_path / "half.ckpt")
    resumed = module()
    trainer(tmp_path, max_epochs=4, callbacks=callbacks).fit(resumed, loader(), ckpt_path=tmp_path / "half.ckpt")
    assert part.rates + resumed.rates == whole.rates


def test_a_checkpoint_of_another_schedule_is_refused(tmp_path):
    first = trainer(tmp_path, max_epochs=1, callbacks=[ScheduleCallback(Cosine())])
    first.fit(Regression(), loader())
    first.save_checkpoint(tmp_path / "one.ckpt")
    other = trainer(tmp_path, max_epochs=1, callbacks=[ScheduleCallback(Step())])
    with pytest.raises(BadValue, match=r"^schedule=Step\(.*must be that of the checkpoint, Cosine\("):
        other.fit(Regression(), loader(), ckpt_path=tmp_path / "one.ckpt")


def test_a_run_that_ends_early_is_told(tmp_path):
    run = trainer(tmp_path, max_epochs=3, callbacks=[ScheduleCallback(Cosine())])
    module = Regression()
    module.on_train_epoch_end = lambda: setattr(run, "should_stop", True)
    with pytest.warns(UserWarning, match="planned for 30 steps, and 10 were taken"):
        run.fit(module, loader())


def test_the_rates_are_logged_as_any_schedulers(tmp_path):
    monitor = LearningRateMonitor()
    arguments = {"logger": pl.loggers.CSVLogger(tmp_path), "log_every_n_steps": 1, "max_epochs": 1}
    run = trainer(tmp_path, callbacks=[monitor, ScheduleCallback(Cosine())], **arguments)
    run.fit(Regression(), loader())
    np.testing.assert_allclose(monitor.lrs["lr-SGD"], 0.1 * Cosine().factor(range(10), Horizon(10)))


class Endless(IterableDataset):
    def __iter__(self):
        while True:
            yield torch.ones(3), torch.ones(1)


def test_data_without_a_length(tmp_path):
    run = trainer(tmp_path, max_steps=7)
    module = Scheduled(Cosine(warmup="20%"))
    run.fit(module, DataLoader(Endless(), batch_size=2))
    assert horizon_of(run) == Horizon(7)
    np.testing.assert_allclose(module.rates, 0.1 * Cosine(warmup="20%").factor(range(7), Horizon(7)))
    with pytest.raises(BadValue, match="warmup=1ep: must be in another unit, where the horizon has no"):
        trainer(tmp_path, max_steps=7).fit(Scheduled(Cosine(warmup="1ep")), DataLoader(Endless(), batch_size=2))


def test_what_cannot_be_scheduled(tmp_path):
    with pytest.raises(BadValue, match="limit_train_batches=0: must leave at least 1 training batch"):
        trainer(tmp_path, max_epochs=1, limit_train_batches=0, callbacks=[ScheduleCallback(Step())]).fit(
            Regression(), loader()
        )
    with pytest.raises(BadValue, match="max_epochs=-1: a schedule needs an end; give max_steps"):
        trainer(tmp_path, max_epochs=-1).fit(Scheduled(Cosine()), loader())
    with pytest.raises(BadValue, match="must be the only one, and there is another scheduler, Scheduler"):
        trainer(tmp_path, max_epochs=1, callbacks=[ScheduleCallback(Step())]).fit(Scheduled(Cosine()), loader())


def test_a_callback_can_be_pickled():
    callback = pickle.loads(pickle.dumps(ScheduleCallback(Cosine(final=0.1))))
    assert callback.schedule == Cosine(final=0.1)


def test_under_its_other_name(tmp_path):
    """A program that imports ``lightning`` gets a callback for that."""
    pytest.importorskip("lightning", reason="the oracles extra is not installed")
    program = (
        "import lightning as L\n"
        "from lrdecay.adapters.lightning import ScheduleCallback\n"
        "from lrdecay import Cosine\n"
        "assert isinstance(ScheduleCallback(Cosine()), L.Callback)"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)
