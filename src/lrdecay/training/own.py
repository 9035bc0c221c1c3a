"""Somebody's own LightningModule, trained under a schedule, recorded and resumed as a classifier is."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch.optim import Optimizer

from lrdecay.config.messages import one_line
from lrdecay.errors import ConfigError
from lrdecay.metrics import TRAIN_LOSS, Metrics
from lrdecay.training import internals
from lrdecay.training.course import Course
from lrdecay.training.journal import Journal, OnDivergence
from lrdecay.training.module import ScheduledModule
from lrdecay.training.tally import Losses

log = logging.getLogger(__name__)


class LoggedJournal(Journal):
    """Of a module that logs its metrics by ``self.log``: they are read where Lightning keeps them.

    The loss of training is the mean of what ``training_step`` returned, whatever the module calls it.
    """

    def __init__(self, monitor: str, on_divergence: OnDivergence, known: Metrics) -> None:
        super().__init__(monitor, on_divergence, known)
        self.train = Losses()
        self.asked: set[str] = set()

    def require(self, trainer: pl.Trainer, split: str) -> None:
        """Requires the declared metrics of a split when it is measured for the first time.

        Raises:
            ConfigError: one of them is not logged.
        """
        if split in self.asked:
            return
        self.asked.add(split)
        there = self._logged(trainer, split)
        if missing := [name for name in self._declared(split) if name not in there]:
            logged = ", ".join(sorted(trainer.callback_metrics)) or "nothing"
            raise ConfigError(
                f"metrics.{missing[0]}: must be logged by {type(trainer.lightning_module).__name__}, by self.log with "
                f"on_epoch=True; it has logged {logged}. metrics= declares what is compared"
            )

    def _of_epoch(self, trainer: pl.Trainer) -> dict[str, float]:
        return self._logged(trainer, "train") | self._trained(np.array(self.epoch_sums))

    def _trained(self, sums: np.ndarray) -> dict[str, float]:
        return {TRAIN_LOSS: float(sums[0] / sums[3])} if sums[3] else {}  # a step may be skipped

    def _evaluated(self, trainer: pl.Trainer, split: str) -> dict[str, float]:
        return self._logged(trainer, split)

    def _declared(self, split: str) -> list[str]:
        return [name for name in self.known.of_split(split) if name != TRAIN_LOSS]

    def _logged(self, trainer: pl.Trainer, split: str) -> dict[str, float]:
        """The declared metrics of a split that were logged in this epoch, in all processes the same."""
        names, there = self._declared(split), internals.logged_in_epoch(trainer)
        values = torch.tensor([float(there.get(name, 0.0)) for name in names], dtype=torch.float64)
        counts = torch.tensor([float(name in there) for name in names], dtype=torch.float64)
        if trainer.world_size > 1:  # what was not synchronised is each one's own, and what was stays as it is
            device = trainer.strategy.root_device
            both = torch.stack([values, counts]).to(device, torch.float32)
            values, counts = trainer.strategy.reduce(both, reduce_op="sum").cpu().to(torch.float64)
        found = zip(names, (values / counts).tolist(), counts.tolist(), strict=True)
        return {name: value for name, value, count in found if count}

    def _log(self, trainer: pl.Trainer, metrics: dict[str, float], step: int) -> None:
        # What the module logs comes to the loggers by itself.
        its_loss_too = TRAIN_LOSS in trainer.callback_metrics and internals.logs_this_step(trainer)
        theirs = self.known.keys() - (set() if its_loss_too else {TRAIN_LOSS})
        self.metrics |= metrics
        self._tell(trainer, {name: value for name, value in metrics.items() if name not in theirs}, step)


class OwnModule(ScheduledModule):
    """Comes before the class of a module that is adopted; it adds no name but Lightning's and ``course``."""

    def configure_optimizers(self) -> Any:
        of_class = super().configure_optimizers
        return self.course.configure(self, self, lambda: _optimizer(of_class(), type(self).__name__))

    def on_fit_start(self) -> None:
        super().on_fit_start()
        _take_weights(self)

    def on_test_start(self) -> None:
        super().on_test_start()
        _take_weights(self)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if outputs:
            self.course.journal.train.add(internals.loss_of_batch(self.trainer, outputs))
        super().on_train_batch_end(outputs, batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        if self.trainer.sanity_checking:
            return
        _journal(self).require(self.trainer, "val")
        self.course.follow(self.course.journal.end_validation(self.trainer))

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        try:
            _journal(self).require(self.trainer, "test")
        except ConfigError as error:  # which is no reason to lose the training
            log.warning("%s", error)
        self.course.journal.end_evaluation(self.trainer, "test")

    def on_train_epoch_end(self) -> None:
        super().on_train_epoch_end()
        _journal(self).require(self.trainer, "train")

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        if self.trainer.state.fn == "fit":
            _journal(self).asked.add("train")  # what was logged before the stop is not logged again in that epoch
            log.warning(
                "module: resuming is exact only if %s keeps all its state in its state_dict or on_save_checkpoint; "
                "metrics of the interrupted epoch cover only the rest of it",
                type(self).__name__,
            )


def _journal(module: ScheduledModule) -> LoggedJournal:
    assert isinstance(module.course.journal, LoggedJournal), "since it was adopted"
    return module.course.journal


def _take_weights(module: ScheduledModule) -> None:
    """Loads the weights that the course has for a module, which may have its layers only now."""
    weights, module.course.weights = module.course.weights, None
    if weights is None:
        return
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise ConfigError(f"module: does not fit the weights: {one_line(error)}") from error


def adopt(module: pl.LightningModule, course: Course) -> ScheduledModule:
    """Makes a module follow a course: it stays what it is, and its class gets `OwnModule` before it.

    Raises:
        ConfigError: Lightning does not step its optimizer, it cannot be validated, or a name is taken.
    """
    kind = type(module)
    if not module.automatic_optimization:
        raise ConfigError(
            f"module: {kind.__name__} uses manual optimization, whose steps cannot be counted in advance; "
            "use lrdecay.adapters.lightning.ScheduleCallback with a trainer of your own"
        )
    if not is_overridden("validation_step", module):
        raise ConfigError(f"module: {kind.__name__} must have a validation_step, by whose metrics runs are judged")
    if "course" in vars(module) or any("course" in vars(base) for base in kind.__mro__):
        raise ConfigError(f"module: {kind.__name__} must have no attribute called course, which is added here")
    named = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    module.__class__ = type(kind.__name__, (OwnModule, kind), named)
    assert isinstance(module, ScheduledModule)
    module.course = course
    internals.keep_hyperparameters_from_loggers(module)
    return module


def _optimizer(made: Any, name: str) -> Optimizer:
    """The one optimizer of what ``configure_optimizers`` may return."""
    if isinstance(made, Optimizer):
        return made
    if isinstance(made, Mapping) and "optimizer" in made:
        if made.get("lr_scheduler") is not None:
            raise ConfigError(_with_scheduler(name))
        return _optimizer(made["optimizer"], name)
    if isinstance(made, Sequence) and len(made) == 2 and all(isinstance(part, list | tuple) for part in made):
        optimizers, schedulers = made
        if schedulers:
            raise ConfigError(_with_scheduler(name))
        made = optimizers
    if isinstance(made, Sequence) and len(made) == 1:
        return _optimizer(made[0], name)
    given = f"{len(made)} of them" if isinstance(made, Sequence) else type(made).__name__
    raise ConfigError(f"optimizer=own: {name}'s configure_optimizers must return one optimizer, not {given}")


def _with_scheduler(name: str) -> str:
    return (
        f"optimizer=own: {name}'s configure_optimizers must return its optimizer without a scheduler, since schedule= "
        "sets the rate; another optimizer= leaves that method aside"
    )
