"""Lengths of time in a run: ``300`` optimizer steps, ``"10ep"`` epochs, ``"5%"`` of the run."""

import functools
import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, cast

from lrdecay.errors import BadValue, is_number, plain, require
from lrdecay.schedules.horizon import Horizon
from lrdecay.text import shortened

Unit = Literal["steps", "ep", "%"]

ALLOWED = 'a number of steps (300), of epochs ("10ep") or a percentage of the run ("5%"), not negative'
_TEXT = re.compile(r"(?P<value>\d+(?:\.\d*)?|\.\d+)\s*(?P<unit>ep|%|steps|)")


@dataclass(frozen=True)
class Duration:
    """A length of time that becomes optimizer steps once the run's `Horizon` is known.

    >>> Duration.parse("0.5ep").steps(Horizon(total_steps=1500, steps_per_epoch=75))
    38

    Raises:
        BadValue: the value is negative or not finite, steps are not whole, or it is more than 100%.
    """

    value: float
    unit: Unit

    def __post_init__(self) -> None:
        _check(self.value, self.unit, "duration", self)

    @classmethod
    def parse(cls, given: "DurationLike", key: str = "duration") -> "Duration":
        """Reads a duration as users write it; `key` names it in the error.

        Raises:
            BadValue: not a duration; among them a bare fraction (``0.1`` could be steps, epochs
                or a fraction of the run), a negative one, and more than 100%.
        """
        if isinstance(given, Duration):
            return given
        given = cast("int | float | str", plain(given))
        if given == 1 and isinstance(given, float):
            raise BadValue(f"{key}={given} is ambiguous: write 100% or a number of steps")
        if is_number(given) and float("-inf") < given < 10**15:  # type: ignore[operator]
            value, unit = float(given), "steps"
        else:
            match = _TEXT.fullmatch(given.strip()) if isinstance(given, str) else None
            if match is None:
                raise BadValue(f"{key}={shortened(given)}: must be {ALLOWED}")
            value, unit = float(match["value"]), match["unit"] or "steps"
        _check(value, unit, key, given)
        return cls(value, cast(Unit, unit))

    def length(self, horizon: Horizon) -> Fraction:
        """Optimizer steps in a run of that horizon, exactly: 33.3% of 1500 steps is 499.5, which no float is."""
        value = Fraction(str(self.value))
        if self.unit == "ep":
            return value * horizon.steps_per_epoch
        return value * horizon.total_steps / 100 if self.unit == "%" else value

    def steps(self, horizon: Horizon) -> int:
        """The length in whole optimizer steps: the nearest, a half upwards."""
        return nearest(self.length(horizon))

    def __str__(self) -> str:
        return f"{self.value:g}{'' if self.unit == 'steps' else self.unit}"


def _check(value: float, unit: str, key: str, given: object) -> None:
    """Raises `BadValue`, in terms of what was `given` for `key`, unless it is a duration."""
    require(unit in ("steps", "ep", "%") and is_number(value) and value >= 0, key, given, ALLOWED)
    require(unit != "%" or value <= 100, key, given, "at most 100%")
    if unit == "steps" and value != int(value):
        share = f"{round(value * 100, 10):g}%" if value <= 1 else "a percentage"
        raise BadValue(f"{key}={given} is ambiguous: write {share} or a number of steps")


DurationLike = Duration | int | float | str


@functools.lru_cache(maxsize=1024, typed=True)
def length(given: DurationLike, horizon: Horizon) -> Fraction:
    """The optimizer steps of a duration as users write it, exactly; remembered, since schedules ask at every call."""
    return Duration.parse(given).length(horizon)


def nearest(steps: Fraction) -> int:
    """Whole steps: the nearest, a half upwards."""
    return math.floor(steps + Fraction(1, 2))
