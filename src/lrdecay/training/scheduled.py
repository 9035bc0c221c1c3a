"""Quantities besides the rate that have schedules of their own: ``scheduled`` of the configuration."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn
from torch.optim import Optimizer

from lrdecay.adapters.quantities import is_schedule_free, momentum_of, set_momentum, stepwise
from lrdecay.config.rules import SCHEDULABLE
from lrdecay.errors import ConfigError, require, within
from lrdecay.schedules import Horizon, Schedule

LOOKED_AT = 100_000
"""Steps of a long run at which the values are looked at beforehand."""


class NotThere(Exception):
    """There is no such quantity to schedule; says what has one."""


@dataclass(frozen=True)
class Quantity:
    """Something that a schedule can set.

    Attributes:
        base: its configured value, which a factor multiplies; of the first place that has one where it has several.
        put: sets it to a factor of what is configured, everywhere.
        read: its value as it is there now, at that first place.
        below: what it must stay below.
        counts: whether it is a whole number, at least 1.
    """

    base: float
    put: Callable[[float], None]
    read: Callable[[], float]
    below: float = np.inf
    counts: bool = False

    def values(self, factors: np.ndarray) -> np.ndarray:
        """What the factors make of it."""
        values = self.base * factors
        return np.maximum(np.round(values), 1) if self.counts else values


class Quantities:
    """Sets quantities at every step, each its configured value times the factor of its schedule.

    Args:
        schedules: by the key of what they schedule, one of `SCHEDULABLE`.
        owner: the module that is trained.
        optimizer: with its configured values, before a checkpoint's are restored.
        horizon: of the run.

    Raises:
        ConfigError: there is no such quantity here, or a schedule does not fit.
    """

    def __init__(self, schedules: Mapping[str, Schedule], owner: Any, optimizer: Optimizer, horizon: Horizon) -> None:
        self._set: list[tuple[str, Quantity, Callable[[int], float]]] = []
        for key, schedule in schedules.items():
            try:
                quantity = MAKERS[key](owner, optimizer)
            except NotThere as error:
                raise ConfigError(f"scheduled.{key}: needs {error}") from error
            with within(f"scheduled.{key}"):
                schedule.require_factor_alone()
                factor = schedule.over(horizon)
                looked_at = np.linspace(0, horizon.total_steps - 1, min(horizon.total_steps, LOOKED_AT)).astype(int)
                highest = quantity.base * float(factor(looked_at).max())
                allowed = f"a schedule under which it stays below {quantity.below:g}, and does not come to {highest:g}"
                require(highest < quantity.below, "_target_", type(schedule).__name__, allowed)
            self._set.append((key.rpartition(".")[2], quantity, stepwise(factor)))

    def __bool__(self) -> bool:
        return bool(self._set)

    def over(self, steps: Sequence[int]) -> dict[str, np.ndarray]:
        """The values at these steps, by name."""
        return {
            name: quantity.values(np.array([factor(step) for step in steps])) for name, quantity, factor in self._set
        }

    def before_step(self, step: int) -> dict[str, float]:
        """Sets what belongs to a step: the values, by the names by which they are logged."""
        values = {}
        for name, quantity, factor in self._set:
            quantity.put(factor(step))
            values[name] = quantity.read()
        return values


def _weight_decay(owner: Any, optimizer: Optimizer) -> Quantity:
    def read(group: dict[str, Any]) -> float:
        return float(group.get("weight_decay") or 0)

    _require(any(map(read, optimizer.param_groups)), "an optimizer with a weight decay, such as optimizer=adamw")
    return _of_groups(optimizer, read, lambda group, value: group.update(weight_decay=value))


def _momentum(owner: Any, optimizer: Optimizer) -> Quantity:
    def read(group: dict[str, Any]) -> float:
        return float(momentum_of(group) or 0)

    usable = all(map(read, optimizer.param_groups)) and not is_schedule_free(optimizer)
    _require(usable, "an optimizer with a momentum, such as optimizer=momentum")
    return _of_groups(optimizer, read, set_momentum, below=1)


def _beta2(owner: Any, optimizer: Optimizer) -> Quantity:
    def put(group: dict[str, Any], value: float) -> None:
        first, _, *others = group["betas"]
        group["betas"] = (first, value, *others)

    usable = all("betas" in group for group in optimizer.param_groups) and not is_schedule_free(optimizer)
    _require(usable, "an optimizer with two betas, such as optimizer=adam")
    return _of_groups(optimizer, lambda group: float(group["betas"][1]), put, below=1)


def _of_groups(
    optimizer: Optimizer,
    read: Callable[[dict[str, Any]], float],
    put: Callable[[dict[str, Any], float], None],
    below: float = np.inf,
) -> Quantity:
    bases = [read(group) for group in optimizer.param_groups]
    first = next(index for index, base in enumerate(bases) if base)

    def put_all(factor: float) -> None:
        for group, base in zip(optimizer.param_groups, bases, strict=True):  # other ones once a checkpoint is restored
            put(group, base * factor)

    return Quantity(bases[first], put_all, lambda: read(optimizer.param_groups[first]), below)


DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def _dropout(owner: Any, optimizer: Optimizer) -> Quantity:
    parts = [(part, "p", part.p) for part in owner.modules() if isinstance(part, DROPOUTS) and part.p]
    named = [(part, getattr(part, "dropout", None)) for part in owner.modules()]
    parts += [(part, "dropout", value) for part, value in named if isinstance(value, float) and value > 0]
    _require(parts, "a model with dropout, such as model.dropout=0.1")

    def put(factor: float) -> None:
        for part, name, base in parts:
            setattr(part, name, base * factor)

    (part, name, base), *_ = parts
    return Quantity(base, put, lambda: float(getattr(part, name)), below=1)


def _label_smoothing(owner: Any, optimizer: Optimizer) -> Quantity:
    base = getattr(owner, "label_smoothing", 0.0)
    _require(base > 0, "a label_smoothing above 0")

    def put(factor: float) -> None:
        owner.label_smoothing = base * factor

    return Quantity(base, put, lambda: float(owner.label_smoothing), below=1)


def _accumulated(owner: Any, optimizer: Optimizer) -> Quantity:
    course = owner.course
    configured = course.accumulation.configured
    _require(configured > 1, "a trainer.accumulate_grad_batches above 1")

    def put(factor: float) -> None:
        size = int(quantity.values(np.asarray(factor)))
        course.accumulation.begin(size, owner.trainer.global_step, course.horizon)

    quantity = Quantity(configured, put, lambda: float(course.accumulation.size), counts=True)
    return quantity


def _require(there: Any, what: str) -> None:
    if not there:
        raise NotThere(what)


_MAKE = (_weight_decay, _momentum, _beta2, _dropout, _label_smoothing, _accumulated)
MAKERS = dict(zip(SCHEDULABLE, _MAKE, strict=True))
