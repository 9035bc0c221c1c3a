"""One process at a time in a folder."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lrdecay.errors import ConfigError

FILE = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other processes out of the folder; however this one ends, the system lets them in again.

    Raises:
        ConfigError: another process is in it.
    """
    from filelock import FileLock, Timeout  # not before it is needed: it imports asyncio

    with ExitStack() as stack:
        if os.environ.get("LOCAL_RANK", "0") == "0":  # the others of a distributed run belong to the first
            try:
                stack.enter_context(FileLock(folder / FILE, blocking=False))
            except Timeout as error:
                raise ConfigError(f"{folder}: another process is at work on it") from error
        yield


def free(folder: Path) -> bool:
    """Whether no process is in the folder."""
    try:
        with locked(folder):
            return True
    except ConfigError:
        return False
