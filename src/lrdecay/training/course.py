"""The course of a training: its schedule on the optimizer, what it measures, and how it is continued."""

import dataclasses
import functools
import io
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.optim import Optimizer

from lrdecay.adapters.groups import rates_apart
from lrdecay.adapters.quantities import momentum_of
from lrdecay.adapters.rates import Rates
from lrdecay.adapters.torch import TorchSchedule, scheduler_errors
from lrdecay.errors import ConfigError, within
from lrdecay.schedules import Horizon, Length, Scale, Schedule
from lrdecay.training import requirements
from lrdecay.training.accumulation import Accumulation
from lrdecay.training.averages import Averages
from lrdecay.training.conflicts import check_undisturbed
from lrdecay.training.journal import Journal
from lrdecay.training.loaders import Order
from lrdecay.training.resumption import Resumption, describe
from lrdecay.training.scheduled import Quantities

CHECKPOINT_VERSION = 2
"""To be raised when a checkpoint holds something else."""
HYPERPARAMETERS = {"hyper_parameters", "datamodule_hyper_parameters"}
TYPES = {"hparams_type", "datamodule_hparams_type"}
"""Keys of a checkpoint under which Lightning keeps the arguments of modules, and the classes of these."""


class Course:
    """What a `ScheduledModule` keeps apart from its network: it has no other state of this package.

    Args:
        schedule: multiplies the rate at every step, or a scheduler of torch's.
        make_optimizer: network to optimizer, each parameter group's own rate being η₀; ``None`` for the module's own.
        scale: multiplies the rate too, following a metric.
        length: of the run, where it is not the trainer's.
        scheduled: schedules of other quantities, see `Quantities`.
        journal: keeps what is measured.

    Attributes:
        adjust: changes the optimizer before anything else sees it.
        weights: for a module that may make its layers late, to be loaded when it has.
        horizon: of the run, known once the optimizer is configured.
        rates: sets the rate, unless a scheduler of torch's does.
        quantities: sets others.
        resumption: continues from a checkpoint.
        order: of the batches.
        averages: of a schedule-free optimizer.
        accumulation: of gradients, where a schedule says of how many batches.
    """

    def __init__(
        self,
        schedule: Schedule | TorchSchedule,
        make_optimizer: Callable[[nn.Module], Optimizer] | None,
        scale: Scale | None,
        length: Length | None,
        scheduled: Mapping[str, Schedule] | None,
        journal: Journal,
    ) -> None:
        self.schedule = schedule
        self.make_optimizer = make_optimizer
        self.scale = scale
        self.length = length or Length()
        self.scheduled = dict(scheduled or {})
        self.journal = journal
        self.adjust: Callable[[Optimizer], None] | None = None
        self.weights: dict[str, Any] | None = None
        self.quantities: Quantities | None = None
        self.horizon: Horizon | None = None
        self.rates: Rates | None = None
        self.resumption = Resumption()
        self.order = Order()
        self.averages = Averages()
        self.accumulation = Accumulation()
        self._apart: dict[str, int] = {}
        self._configured: tuple[Any, int, int] = (None, 0, 0)

    def configure(
        self, module: pl.LightningModule, network: nn.Module, own: Callable[[], Optimizer] | None = None
    ) -> dict[str, Any]:
        """What ``configure_optimizers`` returns: the optimizer, and the schedule, stepped at every optimizer step.

        Args:
            module: is trained.
            network: the part of it whose parameters are.
            own: makes the module's own optimizer, where none is made here.
        """
        trainer = module.trainer
        self.horizon = requirements.horizon(trainer, self.length)
        make = own if self.make_optimizer is None else functools.partial(self.make_optimizer, network)
        assert make is not None, "a classifier has none of its own"
        optimizer = make()
        if self.adjust is not None:
            self.adjust(optimizer)
        requirements.check_clipping(trainer, optimizer)
        if self.scale is not None:
            requirements.check_scale(trainer, self.scale, self.schedule, self.journal.known)
        self.averages = Averages(optimizer)
        self._apart = rates_apart(optimizer)
        with within("schedule"):
            if isinstance(self.schedule, TorchSchedule):
                requirements.check_monitor(trainer, self.schedule.monitor)
                self.schedule.rehearse(optimizer, self.horizon)
                settings = self.schedule.attach(optimizer)
            else:
                self.rates = Rates(optimizer, self.schedule, self.horizon, self.scale)
                requirements.warn_of_a_fixed_rate(self.schedule, self.horizon)
                settings = {"scheduler": self.rates.scheduler, "interval": "step"}
        if self.scheduled:
            requirements.check_scheduled(self.scheduled, self.schedule)
            self.quantities = Quantities(self.scheduled, module, optimizer, self.horizon)
        self._configured = settings["scheduler"], len(optimizer.param_groups), trainer.accumulate_grad_batches
        return {"optimizer": optimizer, "lr_scheduler": settings}

    def step(self, scheduler: Any, step: Callable[[], None]) -> None:
        """Steps the scheduler, one of torch's as Lightning does."""
        if self.rates is not None:
            scheduler.step()
            return
        with within("schedule"), scheduler_errors():
            step()

    def begin(self, module: pl.LightningModule) -> None:
        """Begins or continues, when everything is set up."""
        assert self.horizon is not None, "known once the optimizer is configured"
        self.journal.begin(module.trainer, self.horizon.total_steps)
        if not self.resumption.restore(self, module):
            self.order.begin(module.trainer)
        self.averages.train()

    def begin_epoch(self, trainer: pl.Trainer) -> None:
        check_undisturbed(trainer, *self._configured)
        self.order.follow(trainer)
        self.journal.begin_epoch()

    def before_batch(self, step: int) -> None:
        """Sets the quantities of the step that a batch belongs to."""
        if self.quantities is not None:
            self.journal.beside |= self.quantities.before_step(step)

    def is_between_steps(self, trainer: pl.Trainer, batch: int) -> bool:
        """Whether before this batch of the epoch no gradients are being accumulated, which are in no checkpoint."""
        return not self.accumulation.gathered and batch % trainer.accumulate_grad_batches == 0

    def before_step(self, optimizer: Optimizer, step: int) -> None:
        """Notes the rates of a step, and sets what else a schedule says of it."""
        group = optimizer.param_groups[0]
        self.journal.note_rate(step, group["lr"])
        if self.rates is not None and self.rates.more_than_rates:
            self.rates.before_step(step)
            if (momentum := momentum_of(group)) is not None:
                self.journal.beside["momentum"] = momentum
        for name, index in self._apart.items():
            self.journal.beside[name] = optimizer.param_groups[index]["lr"]

    def follow(self, metrics: Mapping[str, float]) -> None:
        """Lets the scale read its metric, if it is among these."""
        if self.rates is not None and self.scale is not None and self.scale.metric in metrics:
            self.scale.read(metrics[self.scale.metric])
            self.rates.rescale()

    def save(self, module: pl.LightningModule, checkpoint: dict[str, Any], added: dict[str, Any]) -> None:
        """Adds to a checkpoint what Lightning does not know of.

        Args:
            module: is trained.
            checkpoint: as it is written.
            added: what the module has put into it itself.

        Raises:
            ConfigError: that could not be read again without executing something.
        """
        trainer = module.trainer
        for key, value in added.items():
            if not _is_readable(value):
                raise ConfigError(
                    f"module: what {type(module).__name__}'s on_save_checkpoint adds must be tensors and plain values, "
                    f"to be read again safely; {key} is not"
                )
        own = self.journal.state()
        own |= {"schedule": describe(self.schedule), "train": self.journal.train.state(), "version": CHECKPOINT_VERSION}
        own["should_stop"] = trainer.should_stop
        own["horizon"] = dataclasses.asdict(self.horizon) if self.horizon else None
        own["scale"] = self.scale.state() if self.scale else None
        if self.averages.needed:
            self.averages.use()
            checkpoint["state_dict"] = {key: value.clone() for key, value in module.state_dict().items()}
            checkpoint["optimizer_states"] = [optimizer.state_dict() for optimizer in trainer.optimizers]
            own["trained"] = self.averages.trained
            self.averages.train()
        own["order"] = self.order.state(trainer)
        checkpoint["lrdecay"] = own
        for key in HYPERPARAMETERS & checkpoint.keys():  # of save_hyperparameters, which may hold anything
            checkpoint[key] = {name: value for name, value in checkpoint[key].items() if _is_plain(value)}
        for key in TYPES & checkpoint.keys():
            del checkpoint[key]


def _is_readable(value: Any) -> bool:
    """Whether torch reads it again as plain values and tensors."""
    written = io.BytesIO()
    try:
        torch.save(value, written)
        written.seek(0)
        torch.load(written, weights_only=True)
    except (pickle.PickleError, AttributeError, TypeError):
        return False
    return True


def _is_plain(value: Any) -> bool:
    """Whether a checkpoint that holds it can be read without executing anything."""
    if isinstance(value, Mapping):
        return type(value) is dict and all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if type(value) in (list, tuple):
        return all(_is_plain(item) for item in value)
    return value is None or type(value) in (bool, int, float, str)
