"""MNIST where it can be had, otherwise digits."""

import functools
from pathlib import Path
from typing import Any

from lrdecay.data.catalogue import data_folder
from lrdecay.data.digits import Digits
from lrdecay.data.download import MissingData
from lrdecay.data.mnist import MNIST
from lrdecay.data.tensors import TensorData, log


def auto(root: str | Path = "data", download: bool = True, **sizes: Any) -> TensorData:
    """MNIST where it is on disk or can be downloaded, otherwise digits, said in a warning."""
    return MNIST(root, download, **sizes) if _mnist_at_hand(data_folder(root), download) else Digits(**sizes)


@functools.cache
def _mnist_at_hand(root: Path, download: bool) -> bool:
    """Decided, and said, once a process: a sweep does not change its data halfway."""
    try:
        MNIST(root, download).fetch()
    except MissingData as error:
        log.warning("data=auto: using digits, not MNIST: %s", error.why)
        return False
    return True
