"""Where a schedule and a scale meet an optimizer within our own training: what is set, and when."""

from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lrdecay.adapters.quantities import (
    hold_weight_decay,
    note_weight_decay,
    require_momentum,
    set_momentum,
    stepwise,
)
from lrdecay.schedules import Horizon, Scale, Schedule


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
            require_momentum(optimizer, schedule)
            self._momentum = stepwise(placed.momentum)
        self._constant_decay = schedule.weight_decay == "constant" and note_weight_decay(optimizer)
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
                set_momentum(group, self._momentum(step))
        for group in self.optimizer.param_groups if self._constant_decay else ():
            hold_weight_decay(group)

    def rescale(self) -> None:
        """Puts a changed scale into force for the next step, whose rate has been set already."""
        multiplier = self._multiplier(self.scheduler.last_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * multiplier
