"""How a command line ends when something is wrong: one line on stderr, and a status that is not 0."""

import itertools
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from hydra.errors import HydraException, InstantiationException, OverrideParseException
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)
from yaml import MarkedYAMLError, YAMLError

from lrdecay.errors import BadValue, ConfigError, DivergedError
from lrdecay.output import keep_printing
from lrdecay.stopping import Interrupted

# Whether the user asked for tracebacks. Kept in a variable of our own, since Hydra's is set below and the processes
# of a distributed run inherit it.
FULL_ERRORS = os.environ.setdefault("LRDECAY_FULL_ERROR", os.environ.get("HYDRA_FULL_ERROR", "0")) == "1"


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
        return lines[0].removeprefix("ConfigError raised while resolving interpolation: ")
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


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Ends the program with status 1 and one line on stderr for what is not the program's own fault.

    Anything else has its traceback before that line, and ``HYDRA_FULL_ERROR=1`` shows it for mistakes too.
    """
    # Hydra would print its own longer text and exit; with this set it raises instead.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    keep_printing()
    # A log that cannot be written, on a full disk, is not the news: what fails for it is, and says so once.
    logging.raiseExceptions = FULL_ERRORS
    try:
        yield
    except (BadValue, ConfigError, DivergedError, HydraException, OmegaConfBaseException, OSError, YAMLError) as error:
        if FULL_ERRORS:
            raise
        sys.exit(f"error: {one_line(error)}")
    except Interrupted as error:
        print(error, file=sys.stderr)
        sys.exit(error.status)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except UnicodeDecodeError as error:
        if FULL_ERRORS:
            raise
        sys.exit(f"error: a file of the configuration is not UTF-8 text: {error.reason} at byte {error.start}")
    except ValueError as error:
        if isinstance(error.__cause__, OSError) and not FULL_ERRORS:  # a log file that cannot be opened
            sys.exit(f"error: {one_line(error.__cause__)}")
        if str(error).startswith(("Only one of --run", "The --resolve flag", "File ")):  # Hydra's, of its flags
            sys.exit(f"error: {error}")
        if "limit (4300 digits)" in str(error):
            sys.exit("error: a number on the command line has thousands of digits")
        if FULL_ERRORS or not str(error).startswith("Config group override"):
            _unexpected(error)
        sys.exit(f"error: a configuration group cannot be null: {one_line(error)}")
    except Exception as error:
        _unexpected(error)


def _unexpected(error: Exception) -> NoReturn:
    """A fault of the program, or of a class that it was told to use: where it was, and then what."""
    traceback.print_exc()
    sys.exit(f"error: unexpected {type(error).__name__}: {one_line(error)}")
