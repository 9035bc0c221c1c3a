"""What a user's mistake looks like: one line that names the key, the value and what is allowed."""

import itertools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

FULL_ERRORS = os.environ.get("HYDRA_FULL_ERROR") == "1"
"""Whether the user asked for tracebacks; read before `one_line_errors` sets the variable for Hydra."""


class BadValue(ValueError):
    """A class was given a value outside its range: ``key=value: must be …``, the key being its own name for it."""


class ConfigError(ValueError):
    """A value in the configuration cannot be used; one line with the whole key, the value and the remedy."""


class DivergedError(ArithmeticError):
    """The training loss is no longer a finite number."""


def require(condition: bool, key: str, value: object, allowed: str) -> None:
    """Raises `BadValue` unless `condition` holds."""
    if not condition:
        raise BadValue(f"{key}={value}: must be {allowed}")


@contextmanager
def within(group: str) -> Iterator[None]:
    """Turns a `BadValue` into a `ConfigError` that names the key from the top: ``group.key=value: must be …``."""
    try:
        yield
    except BadValue as error:
        raise ConfigError(f"{group}.{error}") from error


def is_number(value: object) -> bool:
    """Whether `value` is a finite real number; ``True`` and ``False`` are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def is_integer(value: object) -> bool:
    """Whether `value` is an integer; ``True`` and ``False`` are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def one_line(error: BaseException) -> str:
    """The error as one line; Hydra's and OmegaConf's texts of several lines are put shorter."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if isinstance(error, InterpolationResolutionError):
        return lines[0].removeprefix("ConfigError raised while resolving interpolation: ")
    if isinstance(error, OverrideParseException):
        return f"{error.override}: not an override as Hydra writes them ({lines[0]})"
    if lines[0].startswith("Could not override"):
        key = lines[0].split("'")[1]
        return f"{key}: no such key in this configuration; `--cfg job` prints those there are, +key=value adds one"
    if len(lines) > 1 and lines[1].startswith("Available options in"):
        group, choice = lines[0].split("'")[-2].rsplit("/", 1)
        choices = itertools.takewhile(lambda line: not line.endswith(":"), lines[2:])
        return f"{group}={choice}: must be one of {', '.join(choices)}"
    return " ".join(lines)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Ends the program with status 1 and one line on stderr for what is not the program's own fault.

    Anything else keeps its traceback, and ``HYDRA_FULL_ERROR=1`` keeps it for mistakes too.
    """
    # Hydra would print its own longer text and exit; with this set it raises instead.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    except (ConfigError, DivergedError, HydraException, OmegaConfBaseException, OSError) as error:
        if FULL_ERRORS:
            raise
        sys.exit(f"error: {one_line(error)}")
