"""Two schedules in a row."""

from dataclasses import dataclass, field, replace

import numpy as np

from lrdecay.errors import BadValue, require
from lrdecay.schedules.durations import Duration, DurationLike, length, nearest
from lrdecay.schedules.horizon import Horizon
from lrdecay.schedules.placement import Array, Phases, Schedule
from lrdecay.schedules.smooth import Cosine
from lrdecay.schedules.steps import Constant


@dataclass(frozen=True, kw_only=True)
class Join(Schedule):
    """Two schedules in a row, each as in a run of its own that is as long as its part: optax' ``join_schedules``.

    torch's ``SequentialLR`` likewise. Percentages in them are of their parts; warm-up, hold and cool-down are theirs or
    those of the whole. With ``continuous`` the second begins at the factor that the first has come to.

    >>> from lrdecay.schedules.smooth import Polynomial
    >>> run = Horizon(total_steps=100, steps_per_epoch=10)
    >>> Join(first=Polynomial(final=0.5), second=Cosine(), at="50%").factor([0, 25, 50, 75, 100], run).tolist()
    [1.0, 0.75, 0.5, 0.25, 0.0]

    Args:
        first: up to `at`.
        second: from then on.
        at: duration from the start of the run (not of the decay), after warm-up and hold and before the cool-down.
        continuous: whether the second's factors are ratios of what the first has come to, or stand for themselves.
    """

    first: Schedule = field(default=Constant())
    second: Schedule = field(default=Cosine())
    at: DurationLike = "50%"
    continuous: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        Duration.parse(self.at, "at")
        require(isinstance(self.continuous, bool), "continuous", self.continuous, "true or false")
        for key in ("first", "second"):
            part = getattr(self, key)
            require(isinstance(part, Schedule), key, part, "a schedule")
            alone = part.momentum is None and part.weight_decay == "coupled"
            require(alone, key, part, "without momentum and weight_decay, which are those of the whole")

    def phases(self, horizon: Horizon) -> Phases:
        phases = super().phases(horizon)
        at, end = nearest(length(self.at, horizon, "at")), horizon.total_steps - phases.cooldown
        require(phases.start < at < end, "at", self.at, f"within the decay, ({phases.start}, {end}), not at step {at}")
        for key, steps in (("first", at - phases.start), ("second", end - at)):
            try:
                getattr(self, key).phases(replace(horizon, total_steps=steps))
            except BadValue as error:
                raise BadValue(f"{key}.{error}") from error
        first = self.first.over(replace(horizon, total_steps=at - phases.start))
        ends_above = not self.continuous or first(at - phases.start) > 0
        require(
            ends_above,
            "first",
            self.first,
            "above 0 at its end, since the second continues from there; or use continuous=false",
        )
        return phases

    def shape(self, u: Array, decay_steps: int, horizon: Horizon) -> Array:
        steps = nearest(length(self.at, horizon, "at")) - self._start(horizon)
        first = self.first.over(replace(horizon, total_steps=steps))
        second = self.second.over(replace(horizon, total_steps=decay_steps - steps))
        level = first(steps) if self.continuous else 1.0
        return np.where(u < steps, first(np.minimum(u, steps)), level * second(np.maximum(u - steps, 0)))
