"""Classification sets of torchvision's, read by its own classes."""

import functools
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
import torchvision.datasets
from torch import Tensor

from lrdecay.data.batches import Split
from lrdecay.data.catalogue import TORCHVISION, data_folder
from lrdecay.data.download import MissingData, answers, downloaded_into
from lrdecay.data.tensors import TensorData
from lrdecay.errors import require

ARGUMENTS = {"EMNIST": {"split": "balanced"}}
"""Beside whether it is for training or for test."""
DAMAGED = (RuntimeError, OSError, ValueError, AssertionError, EOFError, UnpicklingError)
"""What torchvision raises for files that are missing, cut short or something else; of a set it checks the sums of, the
first."""
DELETE = "delete them to download them again, or "
BY_SPLIT = ("SVHN",)
"""Sets whose class is told so by ``split`` and not by ``train``."""


class Torchvision(TensorData):
    """One of torchvision's sets of small images: Fashion-MNIST, KMNIST, EMNIST (balanced), CIFAR-10 and -100, SVHN.

    Args:
        set: name of torchvision's class.
        root: folder with the data, laid out as torchvision does; what is missing is downloaded into it.
        download: whether to try.
        sizes: see `TensorData`.

    Raises:
        BadValue: there is no such set, or a size cannot be.
    """

    def __init__(self, set: str, root: str | Path = "data", download: bool = True, **sizes: Any) -> None:
        super().__init__(**sizes)
        require(set in TORCHVISION, "set", set, f"one of {', '.join(TORCHVISION)}")
        self.name = TORCHVISION[set].name
        self.set = set
        self.root = data_folder(root)
        self.download = download

    def load(self) -> tuple[Split, Split]:
        root = self.root.resolve()
        try:
            return _read(self.set, root)
        except DAMAGED as error:
            if "not found" not in str(error):  # torchvision would not download it again
                raise self._missing(f"the files there are damaged ({_sentence(error)})", DELETE) from error
            if not self.download:
                raise self._missing(f"{_sentence(error)}, and data.download is off") from error
        if not answers(_addresses(self.set)):
            raise self._missing("no files, and no download server can be reached")
        try:
            with downloaded_into(root) as folder:
                for training in (True, False):
                    _opened(self.set, folder, training, download=True)
            return _read(self.set, root)
        except DAMAGED as error:
            raise self._missing(f"the download failed ({_sentence(error)})") from error

    def _missing(self, why: str, first: str = "") -> MissingData:
        remedy = f"{first}set LRDECAY_DATA to a folder that torchvision.datasets.{self.set} has filled"
        return MissingData(self.name, f"{self.root}: {why}", remedy)


@functools.lru_cache(maxsize=1)
def _read(name: str, root: Path) -> tuple[Split, Split]:
    """Once a process: a sweep shares it."""
    train, test = (_split(_opened(name, root, training)) for training in (True, False))
    return train, test


def _opened(name: str, root: Path, training: bool, download: bool = False) -> Any:
    kind = getattr(torchvision.datasets, name)
    half = {"split": "train" if training else "test"} if name in BY_SPLIT else {"train": training}
    return kind(str(root), download=download, **half, **ARGUMENTS.get(name, {}))


def _split(opened: Any) -> Split:
    """uint8 images, n × channels × height × width, and labels, whichever way torchvision holds them."""
    images = torch.as_tensor(opened.data)
    if images.ndim == 3:
        images = images.unsqueeze(1)
    elif images.shape[-1] == 3:
        images = images.permute(0, 3, 1, 2).contiguous()
    labels: Tensor = torch.as_tensor(opened.labels if hasattr(opened, "labels") else opened.targets)
    if len(images) != len(labels):
        raise RuntimeError(f"{len(images)} images have {len(labels)} labels")
    return images, labels.long()


def _addresses(name: str) -> list[str]:
    """Addresses that show whether its server can be reached."""
    kind = getattr(torchvision.datasets, name)
    if name in BY_SPLIT:
        return [kind.split_list["train"][0]]
    mirrors = getattr(kind, "mirrors", None)
    return [f"{mirror}{kind.resources[0][0]}" for mirror in mirrors] if mirrors and name != "EMNIST" else [kind.url]


def _sentence(error: Exception) -> str:
    return str(error).partition(". ")[0].strip() or "no reason given"
