"""Errors of Hydra and OmegaConf as one line."""

import itertools
import os
import re

from hydra.errors import InstantiationException, OverrideParseException
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
)
from yaml import MarkedYAMLError

from lrdecay.errors import ConfigError


def full_errors() -> bool:
    """Whether the user asked for tracebacks.

    Kept in a variable of our own, since ours sets Hydra's, and the processes of a distributed run inherit it.
    """
    return os.environ.setdefault("LRDECAY_FULL_ERROR", os.environ.get("HYDRA_FULL_ERROR", "0")) == "1"


def one_line(error: BaseException) -> str:
    """The error as one line; Hydra's and OmegaConf's texts of several lines are put shorter."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, InstantiationException) and isinstance(error.__cause__, ConfigError):
        return str(error.__cause__)
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}: not valid YAML: {error.problem}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if isinstance(error, InterpolationResolutionError):
        return re.sub(r"^\w+ raised while resolving interpolation: ", "", lines[0])
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key}=???: must be given"
    if isinstance(error, OverrideParseException):
        return f"{error.override}: not an override as Hydra writes them ({lines[0]})"
    if isinstance(error, ConfigAttributeError | ConfigKeyError) and error.full_key and "not in struct" in lines[0]:
        return f"{error.full_key}: must be given"
    if (key := lacking_key(error)) is not None:
        return f"{key}: no such key in this configuration; `--cfg job` prints those there are, +key=value adds one"
    if len(lines) > 1 and lines[1].startswith("Available options in"):
        group, choice = lines[0].split("'")[-2].rsplit("/", 1)
        choices = itertools.takewhile(lambda line: not line.endswith(":"), lines[2:])
        return f"{group}={choice}: must be one of {', '.join(choices)}"
    return " ".join(lines)


def lacking_key(error: BaseException) -> str | None:
    """The key that an override sets and the configuration lacks, if that is what Hydra refuses."""
    text = str(error)
    return text.split("'")[1] if text.startswith("Could not override") else None


def refusal(error: ValueError) -> str | None:
    """What is wrong with the command line, where Hydra and Python say it by a plain ``ValueError``; else ``None``."""
    text = str(error)
    if isinstance(error, UnicodeDecodeError):
        return f"a file of the configuration is not UTF-8 text: {error.reason} at byte {error.start}"
    if isinstance(error.__cause__, OSError):  # a log file that cannot be opened
        return one_line(error.__cause__)
    if text.startswith(("Only one of --run", "The --resolve flag", "File ")):  # Hydra's, of its flags
        return text
    if "limit (4300 digits)" in text:
        return "a number on the command line has thousands of digits"
    return (
        f"a configuration group cannot be null: {one_line(error)}" if text.startswith("Config group override") else None
    )
