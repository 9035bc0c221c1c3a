"""Where a schedule meets an optimizer: what is set in its parameter groups, and when."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from lrdecay.errors import BadValue, require
from lrdecay.metrics import MONITORED
from lrdecay.schedules import Horizon, Scale, Schedule


def stepwise(values: Callable[[np.ndarray], np.ndarray]) -> Callable[[int], float]:
    """A function of an array of steps as a plain function of one step.

    A block of steps is evaluated at once, which costs a hundredth of evaluating each. (``LambdaLR`` would save and
    restore the ``__dict__`` of a callable object.)
    """
    block = 1024

    @functools.lru_cache(maxsize=2)
    def computed(start: int) -> list[float]:
        found: list[float] = values(np.arange(start, start + block)).tolist()
        return found

    def value(step: int) -> float:
        return computed(step - step % block)[step % block]

    return value


class Rates:
    """Sets rate, momentum and weight decay in an optimizer's parameter groups, as schedule and scale say.

    Args:
        optimizer: each group's own rate is η₀.
        schedule: multiplies it at every step.
        horizon: the run's.
        scale: multiplies it too; follows a metric.

    Raises:
        BadValue: the schedule does not fit into the horizon, or asks for what the optimizer does not have.
    """

    def __init__(self, optimizer: Optimizer, schedule: Schedule, horizon: Horizon, scale: Scale | None = None) -> None:
        placed = schedule.over(horizon)
        self.optimizer = optimizer
        self._momentum: Callable[[int], float] | None = None
        if schedule.momentum is not None:
            _require_momentum(optimizer, schedule)
            self._momentum = stepwise(placed.momentum)
        self._constant_decay = schedule.weight_decay == "constant" and _note_weight_decay(optimizer)
        factor = stepwise(placed)
        self._multiplier = factor if scale is None else lambda step: factor(step) * scale.value
        self.scheduler = LambdaLR(optimizer, self._multiplier)

    @property
    def more_than_rates(self) -> bool:
        """Whether there is anything for `before_step` to do."""
        return self._momentum is not None or self._constant_decay

    def before_step(self, step: int) -> None:
        """Sets what belongs to this step beside the rate, which the scheduler has set already."""
        if self._momentum is not None:
            for group in self.optimizer.param_groups:
                _set_momentum(group, self._momentum(step))
        for group in self.optimizer.param_groups if self._constant_decay else ():
            # The optimizer multiplies it by the rate. Where the rate is 0 there is nothing to set it by, nor a step.
            if group["lr"] > 0 and "initial_weight_decay" in group:
                group["weight_decay"] = group["initial_weight_decay"] * (group["initial_lr"] / group["lr"])

    def rescale(self) -> None:
        """Puts a changed scale into force for the next step, whose rate has been set already."""
        multiplier = self._multiplier(self.scheduler.last_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * multiplier


def momentum_of(group: dict[str, Any]) -> float | None:
    """A parameter group's momentum, or Adam's β₁; ``None`` where it has neither."""
    return group["betas"][0] if "betas" in group else group.get("momentum")


def _set_momentum(group: dict[str, Any], momentum: float) -> None:
    if "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum


def _require_momentum(optimizer: Optimizer, schedule: Schedule) -> None:
    name = type(optimizer).__name__
    allowed = f"null with {name}, which has no momentum here; or take an optimizer that has, such as optimizer=momentum"
    shown = list(schedule.momentum or ())
    require(all(map(momentum_of, optimizer.param_groups)), "momentum", shown, allowed)
    starts = "betas" in optimizer.param_groups[0] or isinstance(optimizer, torch.optim.SGD) or shown[0] > 0
    # They make the buffer for it at the first step only.
    require(starts, "momentum", shown, f"above 0 with {name}")
    # Its averages are weighted by a momentum that must not change.
    require(not is_schedule_free(optimizer), "momentum", shown, f"null with {name}")


def _note_weight_decay(optimizer: Optimizer) -> bool:
    """Keeps in each parameter group the weight decay that it began with; whether there is any."""
    groups = [group for group in optimizer.param_groups if group.get("weight_decay")]
    for group in groups:
        if not group.get("decoupled_weight_decay"):
            name = type(optimizer).__name__
            raise BadValue(
                f"weight_decay=constant: must be coupled with {name}, whose weight decay is not marked as decoupled "
                "from the gradient; or take optimizer=adamw"
            )
        group["initial_weight_decay"] = group["weight_decay"]
    return bool(groups)


@dataclass(frozen=True, kw_only=True)
class TorchSchedule:
    """Any scheduler of torch's, or of its kind, in the place of a schedule of ours.

    Args:
        scheduler: optimizer to scheduler.
        interval: whether its ``step()`` is called at every ``step`` or ``epoch``.
        monitor: the metric that ``step()`` is given, ``val/loss`` or ``val/acc``, for ``ReduceLROnPlateau``.

    Raises:
        BadValue: a value is out of its range.
    """

    scheduler: Callable[[Optimizer], LRScheduler]
    interval: Literal["step", "epoch"] = "step"
    monitor: str | None = None

    def __post_init__(self) -> None:
        require(self.interval in ("step", "epoch"), "interval", self.interval, "step or epoch")
        allowed = "val/loss, val/acc or null"
        require(self.monitor in (*MONITORED, None), "monitor", self.monitor, allowed)

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
        for step in range(horizon.total_steps):
            rates[step] = optimizer.param_groups[0]["lr"]
            optimizer.step()
            if self.interval == "step" or (step + 1) % horizon.steps_per_epoch == 0:
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
            allowed = "val/loss or val/acc, with interval=epoch, for ReduceLROnPlateau"
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


def is_schedule_free(optimizer: Optimizer | None) -> bool:
    """Whether it has two modes, as those of the schedulefree package, arXiv 2405.15682."""
    return callable(getattr(optimizer, "train", None)) and callable(getattr(optimizer, "eval", None))
