"""Files that are there whole or not at all."""

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast


def write_atomically(path: Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Writes the file whole or not at all: a temporary file in the same folder, fsync, replace, fsync of the folder.

    Args:
        path: the file, which keeps what it had until all is written.
        content: what to write, or a function that writes it into a file.
    """
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
        temporary = Path(file.name)
        try:
            if callable(content):
                content(cast(BinaryIO, file))
            else:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())  # as any other file; temporary ones are private
            temporary.replace(path)
        except BaseException as error:
            temporary.unlink(missing_ok=True)
            cause = error if isinstance(error, OSError) else error.__context__
            if isinstance(cause, OSError):  # torch raises an error of its own because of it
                raise OSError(cause.errno, cause.strerror, str(path)) from error
            raise
    sync_folder(path.parent)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sync_folder(folder: Path) -> None:
    """Makes sure that what was renamed in a folder stays so after a loss of power, where the system can do that."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_unfinished(folder: Path) -> None:
    """Removes temporary files that `write_atomically` has left because the process was killed."""
    for file in folder.rglob(".*-*"):
        if re.fullmatch(
            r"\.(record\.json|metrics\.csv|lr\.png|test_items\.npz|last\.ckpt|best\.ckpt)-\w{8}", file.name
        ):
            file.unlink()
