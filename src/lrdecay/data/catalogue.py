"""The data sets: what is known of each without loading it, and without torch."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lrdecay.errors import is_integer

# md5 of the four unpacked files; torchvision knows those of the archives only.
MNIST_FILES = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
SHAKESPEARE_FILE = "tinyshakespeare/input.txt"
SHAKESPEARE_MD5 = "6fb458f1232090904fb40fe944165e91"
FITTED = ("channels", "classes", "image_size", "length", "num_classes")
"""Arguments of models that follow from the data, where the configuration has null; torchvision's have the last one."""

Sizes = Mapping[str, Any]


@dataclass(frozen=True)
class DataSet:
    """What is known of a data set.

    Attributes:
        name: by which records, titles and tables tell data sets apart.
        training_items: before some of them are taken for validation: images, signals, or characters of a text;
            ``None`` where only loading it would tell.
        sizes: what a model must fit, by the names of the models' arguments; nothing where it is not known.
        items: what a batch has some of, in a word.
    """

    name: str
    training_items: int | None = None
    sizes: Sizes | None = None
    items: str = "images"


SIZES = {"channels": 1, "image_size": 28, "classes": 10}
COLOURED = {"channels": 3, "image_size": 32, "classes": 10}
MNIST = DataSet("mnist", 60_000, SIZES)
DIGITS = DataSet("digits", 1_438, SIZES)
MNIST1D = DataSet("mnist1d", 5_000, {"channels": 1, "length": 40, "image_size": [1, 40], "classes": 10}, "signals")
MNIST1D_TEST = 1_000
SHAKESPEARE = DataSet("shakespeare", 1_059_624, {"classes": 65}, "windows")
AUTO = "lrdecay.data.auto"
KNOWN = {
    "lrdecay.data.MNIST": MNIST,
    "lrdecay.data.Digits": DIGITS,
    "lrdecay.data.MNIST1D": MNIST1D,
    "lrdecay.data.Shakespeare": SHAKESPEARE,
}
"""Those that come with the package, by ``_target_``."""
GENERATED = ("mnist1d",)
"""Names of those of which there is no end: each seed has data that no other has."""
TEXTS = ("lrdecay.data.Shakespeare", "lrdecay.data.Text")
"""Those whose items are characters."""
TORCHVISION = {
    "CIFAR10": DataSet("cifar10", 50_000, COLOURED),
    "CIFAR100": DataSet("cifar100", 50_000, COLOURED | {"classes": 100}),
    "EMNIST": DataSet("emnist", 112_800, SIZES | {"classes": 47}),
    "FashionMNIST": DataSet("fashion_mnist", 60_000, SIZES),
    "KMNIST": DataSet("kmnist", 60_000, SIZES),
    "SVHN": DataSet("svhn", 73_257, COLOURED),
}
"""Those of torchvision's that ``lrdecay.data.Torchvision`` reads, by the names of their classes."""


def data_folder(root: str | Path | None) -> Path:
    """The folder of the data; an empty or missing name, as of a variable that is set to nothing, is the default."""
    return Path(str(root or "data")).expanduser()


def mnist_on_disk(root: Path) -> bool:
    """Whether all four MNIST files are in ``root/MNIST/raw``."""
    return all((root / "MNIST/raw" / name).is_file() for name in MNIST_FILES)


def data_set(node: Mapping[str, Any]) -> DataSet:
    """The data set that a ``data`` group of the configuration means.

    ``auto`` is MNIST where it is on disk; a run would also try to download it. Of a third-party class only its name is
    known.
    """
    target = str(node.get("_target_"))
    if target == AUTO:
        return MNIST if mnist_on_disk(data_folder(node.get("root"))) else DIGITS
    samples: Any = node.get("samples")
    if target == "lrdecay.data.MNIST1D" and is_integer(samples):
        return replace(MNIST1D, training_items=int(samples) - MNIST1D_TEST)
    if target == "lrdecay.data.Torchvision" and node.get("set") in TORCHVISION:
        return TORCHVISION[str(node["set"])]
    return KNOWN.get(target) or DataSet(target.rpartition(".")[2])


def is_own(target: object) -> bool:
    """Whether a ``_target_`` is a class of this package, so that it is known what its arguments mean."""
    return str(target).startswith("lrdecay.data.")


def model_sizes(target: object) -> Sizes:
    """What a model must fit under a data set of that ``_target_``, whichever of the two ``auto`` finds."""
    known = MNIST if target == AUTO else KNOWN.get(str(target))
    return (known.sizes or {}) if known else {}


def resampled(name: str | None, given: object) -> bool:
    """Whether each seed draws a split of its own from a data set: as given or, for ``None``, where it is small."""
    return name in (DIGITS.name, MNIST1D.name) if given is None else bool(given)
