"""One process at a time in a folder, or one job of several processes."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lrdecay.errors import ConfigError

FILE = ".lock"


RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
"""Where launchers say which process of a job this is, in the order in which Lightning looks, and MPI's."""


def rank() -> int:
    """Which process of its job this is; 0 for the first, or only one."""
    found = (os.environ[name] for name in RANKS if os.environ.get(name, "").isdecimal())
    return int(next(found, 0))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other processes out of the folder; however this one ends, the system lets them in again.

    Raises:
        ConfigError: another process is in it.
    """
    from filelock import FileLock, Timeout  # not before it is needed: it imports asyncio

    with ExitStack() as stack:
        if rank() == 0:  # the others belong to the first
            try:
                stack.enter_context(FileLock(folder / FILE, blocking=False))
            except Timeout as error:
                raise ConfigError(f"{folder}: in use by another process") from error
        yield


def free(folder: Path) -> bool:
    """Whether no process is in the folder."""
    try:
        with locked(folder):
            return True
    except ConfigError:
        return False
