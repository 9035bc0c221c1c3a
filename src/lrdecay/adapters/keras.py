"""Schedules for Keras 3, on each of its backends: ``keras.optimizers.Adam(LearningRate(Cosine(), 1e-3, horizon))``."""

from typing import Any, Self

import keras

from lrdecay.adapters.plain import of_plain, to_plain
from lrdecay.adapters.table import rate_table
from lrdecay.schedules import Horizon, Schedule


@keras.saving.register_keras_serializable("lrdecay")
class LearningRate(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """A schedule in the place of an optimizer's learning rate; called at every step, saved with the model.

    Args:
        schedule: of the rate; momentum and weight decay are not Keras' to schedule.
        rate: η₀.
        horizon: of the run.

    Raises:
        BadValue: see `lrdecay.adapters.table.rate_table`.
    """

    def __init__(self, schedule: Schedule, rate: float, horizon: Horizon) -> None:
        self.schedule, self.rate, self.horizon = schedule, rate, horizon
        self._rates = rate_table(schedule, rate, horizon).astype("float32")

    def __call__(self, step: Any) -> Any:
        """The rate at a step, a scalar tensor of the backend's in float32."""
        place = keras.ops.clip(keras.ops.cast(step, "int32"), 0, self.horizon.total_steps)
        return keras.ops.take(keras.ops.convert_to_tensor(self._rates), place)

    def get_config(self) -> dict[str, Any]:
        """Plain values."""
        return {"schedule": to_plain(self.schedule), "rate": self.rate, "horizon": to_plain(self.horizon)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """What `get_config` gave.

        Raises:
            BadValue: the schedule's class has not been imported.
        """
        return cls(of_plain(config["schedule"]), config["rate"], of_plain(config["horizon"]))
