"""Data sets as tensors in memory, on the run's device, and the batches drawn from them.

A data set is a `TensorData` with a ``name`` and a ``load`` method; everything else (validation split, device, batches,
shares of distributed processes) is common to all. Importing the package loads no torch; naming a class does.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lrdecay.data.choice import auto
    from lrdecay.data.digits import Digits
    from lrdecay.data.mnist import MNIST
    from lrdecay.data.tensors import TensorData

__all__ = ["MNIST", "Digits", "TensorData", "auto"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lrdecay.data import choice, digits, mnist, tensors

    homes = {"MNIST": mnist, "Digits": digits, "TensorData": tensors, "auto": choice}
    return getattr(homes[name], name)
