"""Data sets as tensors in memory, on the run's device, and the batches drawn from them.

A data set is a `TensorData` with a ``name`` and a ``load`` method; everything else (validation split, a seed's own
splits, device, batches, shares of distributed processes) is common to all.
"""

import logging
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningDataModule

from lrdecay.data.batches import Batches, Split
from lrdecay.data.catalogue import resampled
from lrdecay.data.splits import split_sizes
from lrdecay.errors import ConfigError, is_integer, require

log = logging.getLogger(__name__)


class TensorData(LightningDataModule, ABC):
    """A data set held as tensors; a subclass gives ``name`` and ``load``.

    Args:
        batch_size: training items in a batch, over all processes together.
        eval_batch_size: items in a batch of validation and test.
        val_size: how many of the last training items are for validation: a number, or a percentage such as ``"20%"``.
        train_size: use only this many of the items that remain, from the first; ``None`` for all.
        shift: augmentation: each training image is moved by up to this many pixels, drawn again in every epoch.
        resample: whether each seed draws its own split into training, validation and test items, see `draw`; ``None``
            for what `lrdecay.data.catalogue.resampled` says of the data set.

    Attributes:
        items: what the data set consists of, in a word.
        stride: see `Batches`.

    Raises:
        BadValue: a size that cannot be, or does not fit the data.
    """

    name: str
    items = "images"
    stride = 1

    def __init__(
        self,
        batch_size: int = 64,
        eval_batch_size: int = 256,
        val_size: int | str = "20%",
        train_size: int | None = None,
        shift: int = 0,
        resample: bool | None = False,
    ) -> None:
        super().__init__()
        _require_count("batch_size", batch_size)
        _require_count("eval_batch_size", eval_batch_size)
        if train_size is not None:
            _require_count("train_size", train_size)
        require(is_integer(shift) and 0 <= shift <= 28, "shift", shift, "an integer in [0, 28]")
        require(resample is None or isinstance(resample, bool), "resample", resample, "true, false or null")
        self.batch_size = int(batch_size)  # torch takes no integers of numpy's
        self.eval_batch_size = int(eval_batch_size)
        self.shift = int(shift)
        self.val_size = val_size
        self.train_size = train_size
        self.resample = resample
        self.seed = 0
        self._splits: dict[str, Split] = {}

    @abstractmethod
    def load(self) -> tuple[Split, Split]:
        """Training and test inputs and labels, on the CPU."""

    def draw(self, seed: int) -> tuple[Split, Split]:
        """The same as `load`, as many of each, but for this seed alone: all are pooled, and dealt out again."""
        (inputs, labels), (test_inputs, test_labels) = self.load()
        inputs, labels = torch.cat([inputs, test_inputs]), torch.cat([labels, test_labels])
        order = torch.from_numpy(resampling(seed).permutation(len(labels)))
        train, test = order.split([len(labels) - len(test_labels), len(test_labels)])
        return (inputs[train], labels[train]), (inputs[test], labels[test])

    def prepare(self, seed: int, device: torch.device) -> None:
        """Loads, splits and moves the data; `seed` orders the training batches."""
        (inputs, labels), test = self.draw(seed) if resampled(self.name, self.resample) else self.load()
        used, val = split_sizes(len(labels), self.val_size, self.train_size)
        splits = {
            "train": (inputs[:used], labels[:used]),
            "val": (inputs[-val:], labels[-val:]),
            "test": test,
        }
        self._splits = {key: self.placed((x.to(device), y.to(device))) for key, (x, y) in splits.items()}
        if self.classes < 2:
            raise ConfigError(f"data: must have at least 2 classes, and all {self.items} of {self.name} are of one")
        count = self.sizes["train"]
        require(self.batch_size <= count, "batch_size", self.batch_size, f"at most the {count} training {self.items}")
        self.seed = seed

    def placed(self, split: Split) -> Split:
        """A split as its batches are drawn from it."""
        return split

    @property
    def sizes(self) -> dict[str, int]:
        """Items in each split: images, signals or windows of text."""
        return {key: len(labels) // self.stride for key, (_, labels) in self._splits.items()}

    @property
    def model_sizes(self) -> dict[str, Any]:
        """What a model must fit, by the names of the models' arguments: classes, and the images' channels and size."""
        images, _ = self._splits["train"]
        channels, height, width = images.shape[1:]
        size = height if height == width else [height, width]
        return {"classes": self.classes, "channels": channels, "image_size": size}

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(max(labels.max() for _, labels in self._splits.values())) + 1

    def example(self, count: int) -> Split:
        """The first training inputs and labels as a batch holds them, on the CPU."""
        inputs, labels = self._splits["train"]
        return next(iter(Batches((inputs[:count].cpu(), labels[:count].cpu()), count)))

    def train_dataloader(self) -> Batches:
        return self._batches("train", self.batch_size, self.seed)

    def val_dataloader(self) -> Batches:
        return self._batches("val", self.eval_batch_size)

    def test_dataloader(self) -> Batches:
        return self._batches("test", self.eval_batch_size)

    def transfer_batch_to_device(self, batch: Split, device: torch.device, dataloader_idx: int) -> Split:
        return batch  # it is there already, and looking at every step is not free

    def _batches(self, split: str, batch_size: int, seed: int | None = None) -> Batches:
        trainer = self.trainer
        assert trainer is not None, "batches are drawn by a Trainer"
        return Batches(
            self._splits[split],
            batch_size,
            seed=seed,
            epoch=lambda: trainer.current_epoch,
            # Batches that a resumed epoch has seen; it has none when it begins.
            first=lambda: 0 if seed is None else trainer.fit_loop.epoch_loop.batch_progress.current.ready,
            shift=self.shift,
            stride=self.stride,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
        )


def resampling(seed: int) -> np.random.Generator:
    """Draws the data of a seed, and nothing that a training draws."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))


def _require_count(key: str, value: object) -> None:
    require(is_integer(value) and int(value) >= 1, key, value, "an integer, at least 1")  # type: ignore[call-overload]
