"""Lengths of time in a run: ``300`` optimizer steps, ``"10ep"`` epochs, ``"5%"`` of the run, and other units."""

import dataclasses
import functools
import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from lrdecay.errors import BadValue, is_number, plain, require
from lrdecay.schedules.horizon import Horizon
from lrdecay.text import shortened

Unit = Literal["steps", "ep", "%", "samples", "tokens", "s", "min", "h"]

ALLOWED = (
    'a number of steps (300), of epochs ("10ep"), samples ("50_000samples") or tokens ("1e6tokens"), a time ("90s", '
    '"30min", "2h") or a percentage of the run ("5%"), not negative'
)
_TEXT = re.compile(
    r"(?P<value>[0-9]+(?:_[0-9]+)*(?:\.[0-9]*)?(?:e\+?[0-9]+)?|\.[0-9]+)\s*(?P<unit>ep|%|steps|samples|tokens|s|min|h|)"
)
LONGEST = 10**15
_SECONDS = {"s": 1, "min": 60, "h": 3600}
_PER_STEP = {"samples": "samples_per_step", "tokens": "tokens_per_step", **dict.fromkeys(_SECONDS, "seconds_per_step")}
"""What a horizon must have for a unit that is divided by it."""


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
        if is_number(given) and float("-inf") < given < LONGEST:  # type: ignore[operator]
            value, unit = float(given), "steps"
        else:
            match = _TEXT.fullmatch(given.strip()) if isinstance(given, str) else None
            if match is None:
                raise BadValue(f"{key}={shortened(given)}: must be {ALLOWED}")
            value, unit = float(match["value"]), match["unit"] or "steps"
        _check(value, unit, key, given)
        return cls(value, cast(Unit, unit))

    def length(self, horizon: Horizon, key: str = "duration") -> Fraction:
        """Optimizer steps in a run of that horizon, exactly: 33.3% of 1500 steps is 499.5, which no float is.

        Raises:
            BadValue: the horizon does not know how many steps that is; `key` names the duration.
        """
        value = Fraction(str(self.value))
        if self.unit == "%":
            return value * horizon.total_steps / 100
        value *= Fraction(str(horizon.stretch))
        if self.unit == "steps":
            return value
        known = _PER_STEP.get(self.unit, "steps_per_epoch")
        one = getattr(horizon, known)
        require(one is not None, key, self, f"in another unit, where the horizon has no {known}")
        if self.unit == "ep":
            return value * int(one)
        return value * _SECONDS.get(self.unit, 1) / Fraction(str(one))

    def steps(self, horizon: Horizon) -> int:
        """The length in whole optimizer steps: the nearest, a half upwards."""
        return nearest(self.length(horizon))

    def __str__(self) -> str:
        number = int(self.value) if self.value == int(self.value) else self.value
        return f"{number}{'' if self.unit == 'steps' else self.unit}"


def _check(value: float, unit: str, key: str, given: object) -> None:
    """Raises `BadValue`, in terms of what was `given` for `key`, unless it is a duration."""
    require(unit in get_args(Unit) and is_number(value) and 0 <= value < LONGEST, key, given, ALLOWED)
    require(unit != "%" or value <= 100, key, given, "at most 100%")
    if unit == "steps" and value != int(value):
        share = f"{round(value * 100, 10):g}%" if value <= 1 else "a percentage"
        raise BadValue(f"{key}={given} is ambiguous: write {share} or a number of steps")


DurationLike = Duration | int | float | str


def is_timed(value: Any) -> bool:
    """Whether a duration in a schedule, or in anything that holds one, is a time."""
    if isinstance(value, Duration):
        return value.unit in _SECONDS
    if isinstance(value, str):
        found = _TEXT.fullmatch(value.strip())
        return found is not None and found["unit"] in _SECONDS
    if dataclasses.is_dataclass(value):
        return any(is_timed(getattr(value, field.name)) for field in dataclasses.fields(value))
    return isinstance(value, list | tuple) and any(map(is_timed, value))


@functools.lru_cache(maxsize=1024, typed=True)
def length(given: DurationLike, horizon: Horizon, key: str = "duration") -> Fraction:
    """The optimizer steps of a duration as users write it, exactly; remembered, since schedules ask at every call."""
    return Duration.parse(given, key).length(horizon, key)


def nearest(steps: Fraction) -> int:
    """Whole steps: the nearest, a half upwards."""
    return math.floor(steps + Fraction(1, 2))


def periods(u: NDArray[Any], period: Fraction) -> NDArray[np.int64]:
    """⌊u/period⌋ for whole u, in integers, so that a multiple of the period is never missed by rounding."""
    return (whole(u, period) * period.denominator // period.numerator).astype(np.int64)


def whole(u: NDArray[Any], period: Fraction) -> NDArray[Any]:
    """The steps as integers that do not overflow when multiplied by the period's parts: Python's where 64 bits do."""
    largest = (int(u.max(initial=0)) + 1) * period.denominator
    return u.astype(np.int64).astype(np.int64 if max(largest, period.numerator) < 2**62 else object)
