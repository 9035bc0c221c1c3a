"""Data sets as tensors in memory, on the run's device, and the batches drawn from them.

A data set is a `TensorData` with a ``name`` and a ``load`` method; everything else (validation split, device, batches,
shares of distributed processes) is common to all. Importing the package loads no torch; naming a class does.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lrdecay.data.choice import auto
    from lrdecay.data.digits import Digits
    from lrdecay.data.mnist import MNIST
    from lrdecay.data.mnist1d import MNIST1D
    from lrdecay.data.tensors import TensorData
    from lrdecay.data.text import Shakespeare, Text
    from lrdecay.data.torchvision import Torchvision

__all__ = ["MNIST", "MNIST1D", "Digits", "Shakespeare", "TensorData", "Text", "Torchvision", "auto"]
HOMES = {
    "MNIST": "mnist", "MNIST1D": "mnist1d", "Digits": "digits", "Shakespeare": "text", "TensorData": "tensors",
    "Text": "text", "Torchvision": "torchvision", "auto": "choice",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"lrdecay.data.{HOMES[name]}"), name)
