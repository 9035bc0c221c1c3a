"""What a schedule sets in an optimizer's parameter groups beside the rate, and its values step by step."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.optim import Optimizer

from lrdecay.errors import BadValue, require
from lrdecay.schedules import Schedule


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


def momentum_of(group: dict[str, Any]) -> float | None:
    """A parameter group's momentum, or Adam's β₁; ``None`` where it has neither."""
    return group["betas"][0] if "betas" in group else group.get("momentum")


def set_momentum(group: dict[str, Any], momentum: float) -> None:
    if "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum


def hold_weight_decay(group: dict[str, Any]) -> None:
    """Sets the weight decay so that the optimizer, which multiplies it by the rate, decays as at the initial rate."""
    # Where the rate is 0 there is nothing to set it by, nor a step.
    if group["lr"] > 0 and "initial_weight_decay" in group:
        group["weight_decay"] = group["initial_weight_decay"] * float(group["initial_lr"] / group["lr"])


def require_momentum(optimizer: Optimizer, schedule: Schedule) -> None:
    name = type(optimizer).__name__
    allowed = f"null with {name}, which has no momentum here; or use one that has, such as optimizer=momentum"
    shown = list(schedule.momentum or ())
    require(all(map(momentum_of, optimizer.param_groups)), "momentum", shown, allowed)
    starts = "betas" in optimizer.param_groups[0] or isinstance(optimizer, torch.optim.SGD) or shown[0] > 0
    # They make the buffer for it at the first step only.
    require(starts, "momentum", shown, f"above 0 with {name}")
    # Its averages are weighted by a momentum that must not change.
    require(not is_schedule_free(optimizer), "momentum", shown, f"null with {name}")


def note_weight_decay(optimizer: Optimizer) -> bool:
    """Keeps in each parameter group the weight decay that it began with; whether there is any."""
    groups = [group for group in optimizer.param_groups if group.get("weight_decay")]
    for group in groups:
        if not group.get("decoupled_weight_decay"):
            name = type(optimizer).__name__
            raise BadValue(
                f"weight_decay=constant: not possible with {name}, whose weight decay is part of the gradient; use "
                "coupled, or optimizer=adamw"
            )
        group["initial_weight_decay"] = group["weight_decay"]
    return bool(groups)


def is_schedule_free(optimizer: Optimizer | None) -> bool:
    """Whether it has two modes, as those of the schedulefree package, arXiv 2405.15682."""
    optimizer = getattr(optimizer, "optimizer", optimizer)  # accelerate's around any other has both methods
    return callable(getattr(optimizer, "train", None)) and callable(getattr(optimizer, "eval", None))
