"""Shapes of one's own: a table, a formula, a spline of three knots."""

import csv
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lrdecay.errors import BadValue, is_number, plain, require
from lrdecay.schedules.formula import Formula
from lrdecay.schedules.horizon import Horizon
from lrdecay.schedules.monotone import monotone_cubic
from lrdecay.schedules.placement import Array, Schedule

POINTS = "a list of [p, factor] pairs, such as [[0, 1], [0.5, 0.3], [1, 0]], p rising from 0 to 1, factors at least 0"
MOST_POINTS = 1000
"""Of a table: they are part of a run's configuration. A curve through so many is off by a millionth."""
PLACES = ("p", "progress", "step", "epoch")
HEIGHTS = ("factor", "rate", "lr", "learning_rate")


@dataclass(frozen=True, kw_only=True)
class Table(Schedule):
    """Any shape at all: through the points of a table, or by a formula, of p = u/D, the fraction of the decay done.

    So it goes with warm-up, hold and cool-down, and over any length of run; points that are given by steps or epochs
    are `Piecewise`. The factor is that of the table (without a `final`), starts at 1 unless there is a point at 0, and
    stays at the last point's to the end.

    >>> run = Horizon(total_steps=100, steps_per_epoch=10)
    >>> Table(points=[[0.5, 0.4], [1, 0]]).factor([0, 25, 50, 75, 100], run).round(4).tolist()
    [1.0, 0.7, 0.4, 0.2, 0.0]
    >>> Table(expression="(1 - p)**2").factor([0, 50, 100], run).tolist()
    [1.0, 0.25, 0.0]

    Args:
        points: [p, factor] pairs, p rising within [0, 1], factors at least 0; a line from 1 to 0 if nothing is given.
        csv: a file to read the points from, see `read_points`; if the points are given too, it is only where they came
            from.
        expression: a formula of p in their place, see `lrdecay.schedules.formula`.
        between: points are joined by ``linear`` lines; by a ``monotone`` cubic curve, which is smooth and overshoots no
            point; or the factor stays ``constant`` up to the next.
    """

    points: Sequence[Sequence[float]] | None = None
    csv: str | None = None
    expression: str | None = None
    between: Literal["linear", "monotone", "constant"] = "linear"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_choice("between", ("linear", "monotone", "constant"))
        require(self.csv is None or isinstance(self.csv, str), "csv", self.csv, "the path of a file, or null")
        if self.points is None and self.csv is not None:
            object.__setattr__(self, "points", read_points(self.csv))
        if self.expression is not None:
            require(self.points is None, "expression", self.expression, "null where points or a csv are given")
            _check_formula(self.expression)
        else:
            points = ((0.0, 1.0), (1.0, 0.0)) if self.points is None else _pairs(self._as_tuple("points", POINTS))
            object.__setattr__(self, "points", points)

    def shape(self, u: Array, decay_steps: int, horizon: Horizon) -> Array:
        p = u / max(decay_steps, 1)
        if self.expression is not None:
            factors = Formula(self.expression, "p")(p)
            require(not (factors < 0).any(), "expression", self.expression, "at least 0 at every step of the run")
            return factors
        assert self.points is not None, "checked when it was made"
        places, factors = np.array(self.points, dtype=np.float64).T
        if places[0] > 0:
            places, factors = np.concatenate([[0.0], places]), np.concatenate([[1.0], factors])
        if self.between == "constant":
            height: Array = factors[np.searchsorted(places, p, side="right") - 1]
            return height
        p = np.minimum(p, places[-1])
        return monotone_cubic(places, factors, p) if self.between == "monotone" else np.interp(p, places, factors)


def _check_formula(expression: str) -> None:
    try:
        factors = Formula(expression, "p")(np.linspace(0, 1, 1001))
    except BadValue as error:
        raise BadValue(f"expression={error}") from error
    wrong = ~(np.isfinite(factors) & (factors >= 0))
    if wrong.any():
        where = f"which it is not at p = {np.flatnonzero(wrong)[0] / 1000:g}, where it is {factors[wrong][0]:g}"
        raise BadValue(f"expression={expression}: must be finite and at least 0, {where}")


def _pairs(points: Sequence[Any]) -> tuple[tuple[float, float], ...]:
    """The points as pairs of numbers, checked."""
    for point in points:
        pair = isinstance(point, Sequence) and not isinstance(point, str) and len(point) == 2
        numbers = pair and all(map(is_number, point)) and 0 <= point[0] <= 1 and 0 <= point[1] < 1e100
        require(bool(numbers), "points", list(points), POINTS)
    places = [point[0] for point in points]
    rising = bool(places) and all(a < b for a, b in itertools.pairwise(places))
    require(rising, "points", list(points), POINTS)
    require(len(points) <= MOST_POINTS, "points", f"{len(points)} pairs", f"at most {MOST_POINTS}; thin them out")
    return tuple((plain(point[0]), plain(point[1])) for point in points)


def read_points(path: str | Path) -> list[list[float]]:
    """The points of a `Table` from a CSV: a column of places and one of heights, named in its first line.

    Places are called ``p`` or ``progress``, from 0 to 1, or ``step`` or ``epoch``, of which the last is p = 1. Heights
    are called ``factor``, or ``rate``, ``lr`` or ``learning_rate``, of which the highest is 1. Other columns do not
    count.

    Raises:
        BadValue: the file cannot be read, or a line of it.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows, names = list(reader), [name.strip().lower() for name in reader.fieldnames or () if name]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadValue(f"csv={path}: must be a CSV with a line for each point ({reason})") from error
    place, height = (next((name for name in known if name in names), "") for known in (PLACES, HEIGHTS))
    if not rows or names.count(place) != 1 or names.count(height) != 1:
        raise BadValue(
            f"csv={path}: must have a column {', '.join(PLACES)} and a column {', '.join(HEIGHTS)}, "
            f"each once and named in its first line, and at least one line after it"
        )
    points = [
        (_number(path, number, row, place), _number(path, number, row, height))
        for number, row in enumerate(rows, start=2)
    ]
    places, heights = np.array(points).T
    if (np.diff(places) <= 0).any() or places[0] < 0 or (place in PLACES[:2] and places[-1] > 1):
        raise BadValue(
            f"csv={path}: its {place} must rise from line to line, from 0 on{' to 1' * (place in PLACES[:2])}"
        )
    if (heights < 0).any() or not heights.any():
        raise BadValue(f"csv={path}: its {height} must be at least 0, and above 0 somewhere")
    if len(points) > MOST_POINTS:
        raise BadValue(f"csv={path}: must have at most {MOST_POINTS} lines, not {len(points)}; every tenth may do")
    places = places / (places[-1] or 1) if place in PLACES[2:] else places
    heights = heights if height == "factor" else heights / heights.max()
    return [[float(at), float(factor)] for at, factor in zip(places, heights, strict=True)]


def points_csv(points: Sequence[Sequence[float]]) -> bytes:
    """A file that `read_points` reads."""
    return "".join(f"{p},{factor}\n" for p, factor in (("p", "factor"), *points)).encode()


def _number(path: str | Path, line: int, row: dict[str, Any], name: str) -> float:
    given = next(value for key, value in row.items() if key and key.strip().lower() == name)
    try:
        value = float(given)
    except (TypeError, ValueError):
        value = float("nan")
    if not isfinite(value):
        raise BadValue(f"csv={path}: line {line} must have a number for {name}, not {given!r}")
    return value


@dataclass(frozen=True, kw_only=True)
class Spline(Schedule):
    """A falling curve through three free heights at a quarter, a half and three quarters of the decay, to 0 at its end.

    Each height is given as a ratio of the one before it, so that any three numbers in [0, 1] make a curve that falls:
    what a search over shapes needs. Between them a monotone cubic; `Table` takes knots anywhere.

    >>> Spline(quarter=0.8, half=0.5, three_quarters=0.25).factor(
    ...     [0, 25, 50, 75, 100], Horizon(total_steps=100, steps_per_epoch=10)).round(4).tolist()
    [1.0, 0.8, 0.4, 0.1, 0.0]

    Args:
        quarter: the height at p = ¼, as a ratio of that at 0.
        half: that at p = ½, of that at ¼.
        three_quarters: that at p = ¾, of that at ½.
    """

    quarter: float = 0.85
    half: float = 0.6
    three_quarters: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("quarter", "half", "three_quarters"):
            self.require_number(key, at_least=0, at_most=1)

    def shape(self, u: Array, decay_steps: int, horizon: Horizon) -> Array:
        heights = np.cumprod(np.array([1.0, self.quarter, self.half, self.three_quarters, 0.0]))
        return monotone_cubic(np.linspace(0, 1, 5), heights, u / max(decay_steps, 1))
