"""MNIST, from files that are checked."""

import functools
import hashlib
import queue
import socket
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lrdecay.data import catalogue
from lrdecay.data.batches import Split
from lrdecay.data.catalogue import MNIST_FILES, data_folder, mnist_on_disk
from lrdecay.data.tensors import TensorData, log
from lrdecay.errors import ConfigError


class MNIST(TensorData):
    """MNIST (LeCun, Cortes, Burges): 60,000 training and 10,000 test images, 28×28, in ``root/MNIST/raw``.

    Args:
        root: folder with the data; missing files are downloaded into it, with short time-outs.
        download: whether to try.
        sizes: see `TensorData`.
    """

    name = catalogue.MNIST.name

    def __init__(self, root: str | Path = "data", download: bool = True, **sizes: Any) -> None:
        super().__init__(**sizes)
        self.root = data_folder(root)
        self.download = download

    def load(self) -> tuple[Split, Split]:
        self.fetch()
        return read_mnist(self.root.resolve())

    def fetch(self) -> None:
        """Downloads the files unless they are on disk, or raises `MissingData`."""
        if mnist_on_disk(self.root):
            return
        if not self.download:
            raise MissingData(self.root, "data.download is off")
        download_mnist(self.root)


class MissingData(ConfigError):
    """MNIST is neither on disk nor to be downloaded; ``why`` is the reason in short."""

    def __init__(self, root: Path, why: str) -> None:
        self.why = f"no MNIST files in {root / 'MNIST/raw'}, and {why}"
        super().__init__(
            f"data=mnist: {self.why}; set LRDECAY_DATA to the folder that holds MNIST/raw, "
            "or use data=digits, which needs no files"
        )


@functools.lru_cache(maxsize=1)
def read_mnist(root: Path) -> tuple[Split, Split]:
    """Reads the checked files, once a process: a sweep shares them.

    Raises:
        ConfigError: a file differs from the one published; the message names it.
    """
    raw = root / "MNIST/raw"
    for name, published in MNIST_FILES.items():
        with (raw / name).open("rb") as file:
            found = hashlib.file_digest(file, "md5").hexdigest()
        if found != published:
            size = (raw / name).stat().st_size
            raise ConfigError(
                f"data=mnist: {raw / name} is damaged ({size:,} bytes, md5 {found}, expected {published}); "
                "delete it to download it again, or put a good copy there"
            )
    from torchvision.datasets import MNIST as TorchvisionMNIST

    train, test = (TorchvisionMNIST(str(root), train=part) for part in (True, False))
    return (train.data.unsqueeze(1), train.targets), (test.data.unsqueeze(1), test.targets)


def download_mnist(root: Path) -> None:
    """Downloads MNIST with torchvision, never waiting long for a network that is not there.

    The files are put in place only when all are complete, so that processes which download at once do not meet
    half a file.

    Raises:
        MissingData: no mirror answers, or the download fails.
    """
    from torchvision.datasets import MNIST as TorchvisionMNIST

    if not _answers(TorchvisionMNIST.mirrors, timeout=5):
        raise MissingData(root, "no download server can be reached")
    raw = root / "MNIST/raw"
    try:
        raw.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as folder:
            with _socket_timeout(30):
                TorchvisionMNIST(folder, download=True)
            for name in MNIST_FILES:
                (Path(folder) / "MNIST/raw" / name).replace(raw / name)
    except (RuntimeError, OSError) as error:
        raise MissingData(root, f"the download failed ({error})") from error


def _answers(mirrors: list[str], timeout: float) -> bool:
    """Whether a mirror answers within `timeout` seconds.

    Asked in daemon threads, because a name look-up has no time-out of its own.
    """
    answers: queue.Queue[bool] = queue.Queue()

    def ask(mirror: str) -> None:
        try:
            with urllib.request.urlopen(mirror + "train-labels-idx1-ubyte.gz", timeout=timeout):
                answers.put(True)
        except (OSError, ValueError) as error:
            log.debug("%s: %s", mirror, error)
            answers.put(False)

    for mirror in mirrors:
        threading.Thread(target=ask, args=(mirror,), daemon=True).start()
    deadline = time.monotonic() + timeout
    try:
        return any(answers.get(timeout=max(deadline - time.monotonic(), 0)) for _ in mirrors)
    except queue.Empty:
        return False


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
