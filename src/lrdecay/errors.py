"""Errors that are not the program's own fault: one line that names the key, the value and what is allowed."""

import numbers
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from lrdecay.text import shortened


class BadValue(ValueError):
    """A class was given a value outside its range: ``key=value: must be …``, the key being its own name for it."""


class ConfigError(ValueError):
    """A value in the configuration cannot be used; one line with the whole key, the value and the remedy."""


class DivergedError(ArithmeticError):
    """The training loss is no longer a finite number."""


class PrunedError(Exception):
    """A search has stopped the run, since others were better."""


def require(condition: bool, key: str, value: object, allowed: str) -> None:
    """Raises `BadValue` unless `condition` holds."""
    if not condition:
        raise BadValue(f"{key}={shortened(value)}: must be {allowed}")


@contextmanager
def within(group: str = "") -> Iterator[None]:
    """Turns a `BadValue` into a `ConfigError` that names the key from the top: ``group.key=value: must be …``.

    Without a group, the key stands at the top itself.
    """
    try:
        yield
    except BadValue as error:
        raise ConfigError(f"{group}.{error}" if group else str(error)) from error


def is_number(value: object) -> bool:
    """Whether `value` is a finite real number, numpy's among them; ``True`` and ``False`` are not."""
    # abs of a float16 that is compared with a float would warn of an overflow
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and abs(plain(value)) < float("inf")


def is_integer(value: object) -> bool:
    """Whether `value` is an integer, numpy's among them; ``True`` and ``False`` are not."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def require_integer(key: str, value: object, least: int = 1, optional: bool = False) -> None:
    """Refuses a configuration's value that is not an integer of at least `least` or, if optional, ``None``.

    Raises:
        ConfigError: it is not.
    """
    if not (is_integer(value) and cast(int, value) >= least) and not (optional and value is None):
        allowed = f"an integer, at least {least}{', or null' if optional else ''}"
        raise ConfigError(f"{key}={value}: must be {allowed}")


def plain(value: Any) -> Any:
    """The value as Python's own numbers and lists, where it is a number, scalar or array of numpy's.

    They would overflow where Python's grow, and look different in a ``repr``.
    """
    return value.tolist() if type(value).__module__ == "numpy" and hasattr(value, "tolist") else value
