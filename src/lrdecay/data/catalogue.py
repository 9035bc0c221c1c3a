"""The data sets: what is known of each without loading it, and without torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# md5 of the four unpacked files; torchvision knows those of the archives only.
MNIST_FILES = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


@dataclass(frozen=True)
class DataSet:
    """What is known of a data set.

    Attributes:
        name: by which records, titles and tables tell data sets apart.
        training_images: before some of them are taken for validation; ``None`` where only loading it would tell.
        sizes: what a model must fit, by the names of the models' arguments; nothing where it is not known.
    """

    name: str
    training_images: int | None = None
    sizes: Mapping[str, int] | None = None


SIZES = {"channels": 1, "image_size": 28, "classes": 10}
MNIST = DataSet("mnist", 60_000, SIZES)
DIGITS = DataSet("digits", 1_438, SIZES)
AUTO = "lrdecay.data.auto"
KNOWN = {"lrdecay.data.MNIST": MNIST, "lrdecay.data.Digits": DIGITS}
"""Those that come with the package, by ``_target_``."""


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
    return KNOWN.get(target) or DataSet(target.rpartition(".")[2])


def model_sizes(target: object) -> Mapping[str, int]:
    """What a model must fit under a data set of that ``_target_``, whichever of the two ``auto`` finds."""
    return SIZES if target == AUTO or target in KNOWN else {}
