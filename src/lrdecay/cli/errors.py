"""How a command line ends when something is wrong: one line on stderr, and a status that is not 0."""

import atexit
import gc
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from lrdecay.cli.output import keep_printing
from lrdecay.config.messages import full_errors, one_line, refusal
from lrdecay.errors import BadValue, ConfigError, DivergedError
from lrdecay.training.stopping import Interrupted

MISTAKES = (BadValue, ConfigError, DivergedError, HydraException, OmegaConfBaseException, OSError, YAMLError)
"""What is not the program's own fault."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Ends the program with status 1 and one line on stderr for what is not the program's own fault.

    Anything else has its traceback before that line, and ``HYDRA_FULL_ERROR=1`` shows it for mistakes too.
    """
    full = full_errors()
    # Hydra would print its own longer text and exit; with this set it raises instead.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    keep_printing()
    # Python looks for garbage once more when it ends, through everything that was imported: a second, for nothing.
    atexit.register(gc.freeze)
    # A log that cannot be written, on a full disk, is not the news: what fails for it is, and says so once.
    logging.raiseExceptions = full
    try:
        yield
    except MISTAKES as error:
        if full:
            raise
        sys.exit(f"error: {one_line(error)}")
    except Interrupted as error:
        print(error, file=sys.stderr)
        sys.exit(error.status)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except ValueError as error:
        if not full and (message := refusal(error)) is not None:
            sys.exit(f"error: {message}")
        _unexpected(error)
    except Exception as error:
        _unexpected(error)


def _unexpected(error: Exception) -> NoReturn:
    """A fault of the program, or of a class that it was told to use: where it was, and then what."""
    traceback.print_exc()
    sys.exit(f"error: unexpected {type(error).__name__}: {one_line(error)}")
