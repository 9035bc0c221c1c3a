"""How a training is continued from a checkpoint, exactly where it stopped."""

import ast
import dataclasses
import logging
import math
from typing import Any, Protocol

import pytorch_lightning as pl

from lrdecay.adapters.rates import Rates
from lrdecay.adapters.torch import TorchSchedule
from lrdecay.errors import ConfigError
from lrdecay.schedules import Horizon, Scale, Schedule
from lrdecay.training import internals
from lrdecay.training.averages import Averages
from lrdecay.training.ending import forget_the_end, reopen_epoch
from lrdecay.training.journal import Journal
from lrdecay.training.loaders import Order
from lrdecay.training.randomness import restore_random_state

log = logging.getLogger(__name__)

PLANNED = {"total_steps": None, "steps_per_epoch": None, "stretch": 1.0}
"""What of a horizon must be as it was, with what older checkpoints mean; the rest follows from the data."""


class Resumable(Protocol):
    """What of the course of a training belongs to a checkpoint."""

    schedule: Schedule | TorchSchedule
    scale: Scale | None
    horizon: Horizon | None
    rates: Rates | None
    journal: Journal
    averages: Averages
    order: Order


class Resumption:
    """Takes what a checkpoint holds when Lightning reads it, and restores the rest once everything is set up.

    Attributes:
        extended_at: steps from which the run continues under another horizon.
        recorded_best: what the record has; found when the run had ended, it is in no checkpoint.
    """

    def __init__(self) -> None:
        self.extended_at: set[int] = set()
        self.recorded_best: dict[str, Any] = {}
        self._checkpoint: dict[str, Any] | None = None

    def load(self, course: Resumable, trainer: pl.Trainer, checkpoint: dict[str, Any]) -> None:
        """Takes what needs no trainer that is set up."""
        journal = course.journal
        if checkpoint["global_step"] in self.extended_at:
            forget_the_end(checkpoint, trainer)
            reopen_epoch(checkpoint, trainer.accumulate_grad_batches)
        self._checkpoint = checkpoint
        own = checkpoint["lrdecay"]
        journal.load_state(own)
        if "best" not in own:  # as version 0.1 found it, among whole epochs
            for row in journal.epochs:
                journal.compare_with_best(trainer, row)
        if self.recorded_best.get("step", math.inf) < checkpoint["global_step"]:
            journal.compare_with_best(trainer, self.recorded_best)
        if course.scale is not None:
            course.scale.load_state(own["scale"])

    def restore(self, course: Resumable, module: pl.LightningModule) -> bool:
        """Restores what only exists when everything is set up; whether there was a checkpoint at all."""
        if self._checkpoint is None:
            return False
        checkpoint, self._checkpoint = self._checkpoint, None
        trainer, own = module.trainer, checkpoint["lrdecay"]
        self._check(course, trainer, own)
        course.journal.train.load_state(own["train"], module.device)
        course.averages.trained = own.get("trained")
        self._restore_order(course, module, own, checkpoint["random"])
        extended = trainer.global_step in self.extended_at
        trainer.should_stop = own["should_stop"] and not extended  # early stopping's; Lightning forgets it
        if extended and course.rates is not None:
            course.rates.rescale()  # the next step's rate was that of the old horizon
        return True

    def _check(self, course: Resumable, trainer: pl.Trainer, own: dict[str, Any]) -> None:
        assert course.horizon is not None
        horizon = {key: getattr(course.horizon, key) for key in PLANNED}
        was = {key: (own["horizon"] or {}).get(key, default) for key, default in PLANNED.items()}
        if not is_schedule(own["schedule"], course.schedule):
            raise ConfigError(f"schedule: the run's is {own['schedule']}, not {course.schedule!r}")
        if was != horizon and trainer.global_step not in self.extended_at:
            raise ConfigError(f"horizon: the run's is {was}, not {horizon}; resume_mode=extend changes it")

    def _restore_order(
        self, course: Resumable, module: pl.LightningModule, own: dict[str, Any], random: dict[str, Any]
    ) -> None:
        """The order of the batches, and the generators that they and the steps draw from."""
        trainer, order = module.trainer, course.order
        # Three steps whose order matters. A third-party loader is advanced to where the epoch stopped, which draws
        # from the generators; so they are restored after it; and since Lightning looks one batch ahead, they are put
        # back once more to before that batch was drawn.
        seen = internals.resume_within_epoch(trainer)
        if seen and not order.resume(trainer, own.get("order"), seen):
            log.warning(
                "data: its loader cannot tell where epoch %d stopped, and begins at its first batch again: "
                "this run is not what it would have been without the stop", trainer.current_epoch + 1,
            )  # fmt: skip
        restore_random_state(random, module.device)
        if seen:
            order.rewind(trainer, own.get("order"))
        else:
            order.begin(trainer, own.get("order"))


def describe(schedule: Schedule | TorchSchedule) -> Any:
    """What a checkpoint holds of a schedule: its class, and the fields that differ from their defaults.

    So a field that is added later, with a default that changes nothing, leaves old checkpoints what they are.
    """
    if isinstance(schedule, TorchSchedule):
        return repr(schedule)
    changed = {f.name: getattr(schedule, f.name) for f in dataclasses.fields(schedule)}
    kept = {key: repr(value) for key, value in changed.items() if value != _default(schedule, key)}
    return {"class": type(schedule).__name__, **kept}


def is_schedule(described: Any, schedule: Schedule | TorchSchedule) -> bool:
    """Whether `describe` gave that of this schedule; version 0.1 wrote its ``repr``, with every field that it knew."""
    if isinstance(described, str) and described == repr(schedule):
        return True
    if isinstance(described, str) and isinstance(schedule, Schedule):
        described = _parsed(described, schedule)
    return bool(described == describe(schedule))


def _parsed(text: str, schedule: Schedule) -> dict[str, str] | None:
    """A ``repr`` as `describe` would have given it; ``None`` for one that holds more than plain values."""
    try:
        call = ast.parse(text, mode="eval").body
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
            return None
        fields = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
    except (ValueError, SyntaxError):
        return None
    changed = {key: repr(value) for key, value in fields.items() if value != _default(schedule, key)}
    return {"class": call.func.id, **changed}


def _default(schedule: Schedule, key: str) -> Any:
    return next((f.default for f in dataclasses.fields(schedule) if f.name == key), dataclasses.MISSING)
