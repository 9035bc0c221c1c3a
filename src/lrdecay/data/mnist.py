"""MNIST, from files that are checked."""

import functools
from pathlib import Path
from typing import Any

from lrdecay.data import catalogue
from lrdecay.data.batches import Split
from lrdecay.data.catalogue import MNIST_FILES, data_folder, mnist_on_disk
from lrdecay.data.download import MissingData, answers, downloaded_into, require_published
from lrdecay.data.tensors import TensorData


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
            raise _missing(self.root, "data.download is off")
        download_mnist(self.root)


def _missing(root: Path, why: str) -> MissingData:
    remedy = "set LRDECAY_DATA to the folder that holds MNIST/raw, or use data=digits, which needs no files"
    return MissingData("mnist", f"no MNIST files in {root / 'MNIST/raw'}, and {why}", remedy)


@functools.lru_cache(maxsize=1)
def read_mnist(root: Path) -> tuple[Split, Split]:
    """Reads the checked files, once a process: a sweep shares them.

    Raises:
        ConfigError: a file differs from the one published; the message names it.
    """
    raw = root / "MNIST/raw"
    for name, published in MNIST_FILES.items():
        require_published(raw / name, published, "mnist")
    from torchvision.datasets import MNIST as TorchvisionMNIST

    train, test = (TorchvisionMNIST(str(root), train=part) for part in (True, False))
    return (train.data.unsqueeze(1), train.targets), (test.data.unsqueeze(1), test.targets)


def download_mnist(root: Path) -> None:
    """Downloads MNIST with torchvision, never waiting long for a network that is not there.

    Raises:
        MissingData: no mirror answers, or the download fails.
    """
    from torchvision.datasets import MNIST as TorchvisionMNIST

    if not answers([f"{mirror}train-labels-idx1-ubyte.gz" for mirror in TorchvisionMNIST.mirrors]):
        raise _missing(root, "no download server can be reached")
    try:
        with downloaded_into(root) as folder:
            TorchvisionMNIST(str(folder), download=True)
    except (RuntimeError, OSError) as error:
        raise _missing(root, f"the download failed ({error})") from error
