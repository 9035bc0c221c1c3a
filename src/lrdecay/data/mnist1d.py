"""MNIST-1D: ten templates of twelve points, distorted and drowned in noise."""

import functools
import logging
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lrdecay.data import catalogue
from lrdecay.data.batches import Split
from lrdecay.data.catalogue import data_folder
from lrdecay.data.tensors import TensorData
from lrdecay.errors import is_integer, require
from lrdecay.files import write_atomically

log = logging.getLogger(__name__)
PUBLISHED_SEED = 42


class MNIST1D(TensorData):
    """MNIST-1D (Greydanus and Kobak, arXiv 2011.14439): signals of 40 numbers in ten classes, generated here.

    The last 1,000 are for test. With ``samples=5000`` and without resampling they are the published ones, on which
    logistic regression reaches 32%, an MLP 68% and a CNN 94% (the article's figure 3).

    Args:
        root: folder of the data; what has been generated is kept there, 1 MB for each seed.
        samples: how many are generated, those for test among them.
        sizes: see `TensorData`; resampling generates other signals for each seed, so that what is found holds for new
            data too.

    Raises:
        BadValue: a size that cannot be.
    """

    name = catalogue.MNIST1D.name
    items = catalogue.MNIST1D.items

    def __init__(self, root: str | Path = "data", samples: int = 6000, **sizes: Any) -> None:
        super().__init__(**sizes)
        fits = is_integer(samples) and samples > catalogue.MNIST1D_TEST and samples % 10 == 0
        require(fits, "samples", samples, f"a multiple of 10, above the {catalogue.MNIST1D_TEST:,} for test")
        require(self.shift == 0, "shift", self.shift, "0 with signals")
        self.root = data_folder(root)
        self.samples = samples

    @property
    def model_sizes(self) -> dict[str, Any]:
        return dict(catalogue.MNIST1D.sizes or {})

    def load(self) -> tuple[Split, Split]:
        return signals(self.root.resolve(), self.samples, PUBLISHED_SEED)

    def draw(self, seed: int) -> tuple[Split, Split]:
        return signals(self.root.resolve(), self.samples, seed)


@functools.lru_cache(maxsize=32)
def signals(root: Path, samples: int, seed: int) -> tuple[Split, Split]:
    """Training and test signals, n × 1 × 40, and their classes: from the file that keeps them, or generated."""
    file = root / "mnist1d" / f"samples{samples}-seed{seed}.npy"
    try:
        rows = np.load(file)  # which unpickles nothing
        complete = rows.shape == (samples, 41) and rows.dtype == np.float32
    except (OSError, ValueError, EOFError):
        complete = False
    if not complete:
        rows = _generated(samples, seed)
        _keep(file, rows)
    # copies: torch takes no rows of a larger array
    inputs, classes = torch.from_numpy(rows[:, None, :40].copy()), torch.from_numpy(rows[:, 40].astype(np.int64))
    train = samples - catalogue.MNIST1D_TEST
    return (inputs[:train], classes[:train]), (inputs[train:], classes[train:])


def _generated(samples: int, seed: int) -> np.ndarray:
    """Signals, each with its class behind it, as the authors' package makes them."""
    from mnist1d.data import get_dataset_args, make_dataset

    settings = get_dataset_args()
    settings.num_samples, settings.seed = samples, seed
    settings.train_split = 1.0
    # It draws from the global generators, which are to be left as they were.
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        made = make_dataset(settings)
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
    return np.column_stack([made["x"], made["y"]]).astype(np.float32)


def _keep(file: Path, rows: np.ndarray) -> None:
    """Without them on disk they are only made again."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, lambda opened: np.save(opened, rows))
    except OSError as error:
        log.warning("data=mnist1d: the signals could not be kept: %s", error)
