"""Asking servers for files without ever waiting long for a network that is not there."""

import hashlib
import logging
import queue
import socket
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lrdecay.errors import ConfigError

log = logging.getLogger(__name__)
ANSWER, SILENCE = 5.0, 30.0
"""Seconds in which a server must answer, and after which one that has fallen silent is given up."""
ARCHIVES = (".gz", ".zip")


class MissingData(ConfigError):
    """A data set is neither on disk nor to be downloaded; ``why`` is the reason in short.

    Args:
        choice: of the ``data`` group.
        why: in words.
        remedy: what helps.
    """

    def __init__(self, choice: str, why: str, remedy: str) -> None:
        self.why = why
        super().__init__(f"data={choice}: {why}; {remedy}")


def answers(urls: Sequence[str], timeout: float = ANSWER) -> bool:
    """Whether one of these can be had within `timeout` seconds.

    Asked in daemon threads, because a name look-up has no time-out of its own.
    """
    found: queue.Queue[bool] = queue.Queue()

    def ask(url: str) -> None:
        try:
            with urllib.request.urlopen(url, timeout=timeout):
                found.put(True)
        except (OSError, ValueError) as error:
            log.debug("%s: %s", url, error)
            found.put(False)

    for url in urls:
        threading.Thread(target=ask, args=(url,), daemon=True).start()
    deadline = time.monotonic() + timeout
    try:
        return any(found.get(timeout=max(deadline - time.monotonic(), 0)) for _ in urls)
    except queue.Empty:
        return False


@contextmanager
def downloaded_into(root: Path) -> Iterator[Path]:
    """A folder to download into. All files that it has at the end are put in place, but for archives.

    So processes that download at once, as those of a sweep do, never meet half a file, and one that breaks off leaves
    nothing.
    """
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as temporary:
        folder = Path(temporary)
        with socket_timeout():
            yield folder
        for file in [path for path in folder.rglob("*") if path.is_file() and path.suffix not in ARCHIVES]:
            place = root / file.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            file.replace(place)


@contextmanager
def socket_timeout(seconds: float = SILENCE) -> Iterator[None]:
    """Gives up connections that are silent for so long, those of other people's code too."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def require_published(file: Path, md5: str, choice: str) -> None:
    """Checks that a file is the one that was published.

    Raises:
        ConfigError: it differs; the message names it.
    """
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "md5").hexdigest()
    if found != md5:
        raise ConfigError(
            f"data={choice}: {file} is damaged ({file.stat().st_size:,} bytes, md5 {found}, expected {md5}); "
            "delete it to download it again, or put a good copy there"
        )
