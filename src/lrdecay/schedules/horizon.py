"""How long a run is."""

from dataclasses import dataclass

from lrdecay.errors import is_integer, require


@dataclass(frozen=True)
class Horizon:
    """How long a run is.

    Args:
        total_steps: optimizer steps of the whole run, T; gradient accumulation is counted in.
        steps_per_epoch: optimizer steps of one epoch.

    Raises:
        BadValue: either is not an integer of at least 1.
    """

    total_steps: int
    steps_per_epoch: int

    def __post_init__(self) -> None:
        for key in ("total_steps", "steps_per_epoch"):
            value = getattr(self, key)
            require(is_integer(value) and value >= 1, key, value, "an integer, at least 1")
            object.__setattr__(self, key, int(value))
