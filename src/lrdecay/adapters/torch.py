"""Schedules for torch: ours in the place of torch's schedulers, and torch's in the place of ours."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lrdecay.adapters.quantities import (
    hold_weight_decay,
    note_weight_decay,
    require_momentum,
    set_momentum,
    stepwise,
)
from lrdecay.errors import BadValue, require
from lrdecay.schedules import Horizon, Schedule


class Scheduler(LRScheduler):
    """A schedule in the place of one of torch's schedulers: ``step()`` after each ``optimizer.step()``.

    It sets the rate of each parameter group, its own η₀ times the factor, and the momentum and the constant weight
    decay of schedules that have them. After the end of the run everything stays as it is there. Groups may be added
    later.

    Args:
        optimizer: of which each group's rate is η₀ as long as it has no ``initial_lr``.
        schedule: of the rate.
        horizon: of the run.
        last_epoch: the step to continue from, as torch's have it; −1 at the beginning.

    Raises:
        BadValue: the schedule does not fit into the horizon, or asks for what the optimizer does not have.
    """

    def __init__(self, optimizer: Optimizer, schedule: Schedule, horizon: Horizon, last_epoch: int = -1) -> None:
        if schedule.momentum is not None:
            require_momentum(optimizer, schedule)
        self._constant_decay = schedule.weight_decay == "constant" and note_weight_decay(optimizer)
        self._place(schedule, horizon)
        super().__init__(optimizer, last_epoch)

    def _place(self, schedule: Schedule, horizon: Horizon) -> None:
        self.schedule, self.horizon = schedule, horizon
        placed = schedule.over(horizon)
        self._factor = stepwise(placed)
        self._momentum = None if schedule.momentum is None else stepwise(placed.momentum)

    def get_lr(self) -> list[float | torch.Tensor]:
        factor, groups = self._factor(self.last_epoch), self.optimizer.param_groups
        for group in groups[len(self.base_lrs) :]:  # added since
            rate = group["lr"].clone() if isinstance(group["lr"], torch.Tensor) else group["lr"]
            self.base_lrs.append(group.setdefault("initial_lr", rate))
            if self._constant_decay:
                group["initial_weight_decay"] = group["weight_decay"]
        return [group["initial_lr"] * factor for group in groups]

    def step(self, epoch: int | None = None) -> None:
        """Sets what belongs to the next step, or to the given one."""
        super().step(epoch)
        for group in self.optimizer.param_groups:
            if self._momentum is not None:
                set_momentum(group, self._momentum(self.last_epoch))
            if self._constant_decay:
                hold_weight_decay(group)

    def state_dict(self) -> dict[str, Any]:
        """Plain values, and the schedule and horizon as text."""
        own = {key: self.__dict__[key] for key in ("last_epoch", "base_lrs", "_last_lr", "_step_count")}
        return own | {"schedule": repr(self.schedule), "horizon": repr(self.horizon)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from a state of the same schedule and horizon.

        Raises:
            BadValue: it is of others.
        """
        for key, own in (("schedule", repr(self.schedule)), ("horizon", repr(self.horizon))):
            if state_dict[key] != own:
                raise BadValue(f"{key}={own}: must be that of the checkpoint, {state_dict[key]}")
        super().load_state_dict({key: value for key, value in state_dict.items() if key not in ("schedule", "horizon")})

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_factor", "_momentum")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._place(self.schedule, self.horizon)


def scheduler(optimizer: Optimizer, schedule: Schedule, horizon: Horizon) -> Scheduler:
    """A schedule as one of torch's schedulers; see `Scheduler`.

    >>> from lrdecay import Cosine, Horizon
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    >>> rates = scheduler(optimizer, Cosine(final=0.01), Horizon(total_steps=2, steps_per_epoch=2))
    >>> for _ in range(2):
    ...     optimizer.step()
    ...     rates.step()
    >>> round(optimizer.param_groups[0]["lr"], 9)
    0.001
    """
    return Scheduler(optimizer, schedule, horizon)


@dataclass(frozen=True, kw_only=True)
class TorchSchedule:
    """Any scheduler of torch's, or of its kind, in the place of a schedule of ours.

    Args:
        scheduler: optimizer to scheduler.
        interval: whether its ``step()`` is called at every ``step`` or ``epoch``.
        monitor: the metric that ``step()`` is given, such as ``val/loss``, for ``ReduceLROnPlateau``.

    Raises:
        BadValue: a value is out of its range.
    """

    scheduler: Callable[[Optimizer], LRScheduler]
    interval: Literal["step", "epoch"] = "step"
    monitor: str | None = None

    def __post_init__(self) -> None:
        require(self.interval in ("step", "epoch"), "interval", self.interval, "step or epoch")
        named = self.monitor is None or isinstance(self.monitor, str)
        require(named, "monitor", self.monitor, "the name of a metric, or null")

    def rates(self, rate: float, horizon: Horizon) -> np.ndarray:
        """The rate at each step of a run that begins with `rate`, found by stepping the scheduler without training.

        Raises:
            BadValue: it follows a metric, or cannot be made.
        """
        if self.monitor is not None:
            raise BadValue(f"monitor={self.monitor}: the rates follow a metric that only training has")
        return self._stepped(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate, momentum=0.9), horizon)

    def rehearse(self, optimizer: Optimizer, horizon: Horizon) -> None:
        """Steps the scheduler through the whole run beside the optimizer, without training.

        Raises:
            BadValue: it cannot be made, or stepped as often; one that follows a metric is not tried.
        """
        if self.monitor is not None:
            return
        # Its groups and defaults are all that a scheduler sees of an optimizer.
        groups = [group | {"params": [torch.nn.Parameter(torch.zeros(1))]} for group in optimizer.param_groups]
        stand_in = torch.optim.SGD(groups, lr=0.1)
        stand_in.defaults = dict(optimizer.defaults)
        self._stepped(stand_in, horizon)

    def _stepped(self, optimizer: Optimizer, horizon: Horizon) -> np.ndarray:
        scheduler = self.attach(optimizer)["scheduler"]
        rates = np.empty(horizon.total_steps)
        every = 1 if self.interval == "step" else horizon.steps_per_epoch
        if every is None:
            raise BadValue("interval=epoch: must be step, where the horizon has no steps_per_epoch")
        for step in range(horizon.total_steps):
            rates[step] = optimizer.param_groups[0]["lr"]
            optimizer.step()
            if (step + 1) % every == 0:
                with scheduler_errors():
                    scheduler.step()
        return rates

    def attach(self, optimizer: Optimizer) -> dict[str, Any]:
        """The scheduler, as Lightning takes it.

        Raises:
            BadValue: it cannot be made, or needs a metric and is given none.
        """
        with scheduler_errors():
            scheduler = self.scheduler(optimizer)
        if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            ready = self.monitor is not None and self.interval == "epoch"
            allowed = "a metric such as val/loss, with interval=epoch, for ReduceLROnPlateau"
            require(ready, "monitor", f"{self.monitor or 'null'} with interval={self.interval}", allowed)
        elif isinstance(scheduler, LRScheduler):
            require(self.monitor is None, "monitor", self.monitor, f"null with {type(scheduler).__name__}")
        settings: dict[str, Any] = {"scheduler": scheduler, "interval": self.interval}
        return settings | ({"monitor": self.monitor, "reduce_on_plateau": True} if self.monitor else {})

    def __repr__(self) -> str:
        made = self.scheduler
        if not isinstance(made, functools.partial):
            return f"TorchSchedule({made})"
        # No address of a function, which differs from process to process.
        arguments = ", ".join(f"{key}={value!r}" for key, value in sorted(made.keywords.items()))
        return f"TorchSchedule({made.func.__module__}.{made.func.__qualname__}({arguments}), {self.interval})"


@contextmanager
def scheduler_errors() -> Iterator[None]:
    """Turns what a scheduler of other people's refuses into a `BadValue`."""
    try:
        yield
    except (TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise BadValue(f"scheduler: {error}") from error
