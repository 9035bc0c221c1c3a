"""Lengths of time in a run: ``300`` optimizer steps, ``"10ep"`` epochs, ``"5%"`` of the run."""

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from lrdecay.errors import BadValue, is_integer, is_number, require

Unit = Literal["steps", "ep", "%"]

ALLOWED = 'a number of steps (300), of epochs ("10ep") or a part of the run ("5%"), not negative'
_TEXT = re.compile(r"(?P<value>\d+(?:\.\d*)?|\.\d+)\s*(?P<unit>ep|%|steps|)")


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


@dataclass(frozen=True)
class Duration:
    """A length of time that becomes optimizer steps once the run's `Horizon` is known.

    >>> Duration.parse("0.5ep").steps(Horizon(total_steps=1500, steps_per_epoch=75))
    38
    """

    value: float
    unit: Unit

    @classmethod
    def parse(cls, given: "DurationLike", key: str = "duration") -> "Duration":
        """Reads a duration as users write it; `key` names it in the error.

        Raises:
            BadValue: not a duration; among them a bare fraction (``0.1`` could be steps, epochs
                or a part of the run), a negative one, and more than 100%.
        """
        if isinstance(given, Duration):
            return given
        value, unit = cls._split(given, key)
        # 0.1, and 1.0 too: steps, epochs or a part of the run?
        if unit == "steps" and (value != int(value) or (isinstance(given, float) and value == 1)):
            share = f"{round(value * 100, 10):g}%" if value <= 1 else "a percentage"
            raise BadValue(f"{key}={given} is ambiguous: write {share} or a number of steps")
        require(unit != "%" or value <= 100, key, given, "at most 100%")
        return cls(value, unit)

    @staticmethod
    def _split(given: object, key: str) -> tuple[float, Unit]:
        """The number and the unit in what was given."""
        if is_number(given):
            require(given >= 0, key, given, ALLOWED)  # type: ignore[operator]
            return given, "steps"  # type: ignore[return-value]
        match = _TEXT.fullmatch(given.strip()) if isinstance(given, str) else None
        require(match is not None, key, given, ALLOWED)
        assert match is not None
        unit: Unit = match["unit"] or "steps"  # type: ignore[assignment]
        return float(match["value"]), unit

    def steps(self, horizon: Horizon) -> int:
        """Optimizer steps in a run of that horizon, to the nearest one, a half upwards."""
        if self.unit == "steps":
            return int(self.value)
        whole = Fraction(horizon.steps_per_epoch) if self.unit == "ep" else Fraction(horizon.total_steps, 100)
        # As a fraction of what was written: in binary, 33.3% of 1500 steps is less than 499.5.
        return math.floor(Fraction(str(self.value)) * whole + Fraction(1, 2))

    def __str__(self) -> str:
        return f"{self.value:g}{'' if self.unit == 'steps' else self.unit}"


DurationLike = Duration | int | float | str
