"""The batches of a data set that is held as tensors."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

Split = tuple[Tensor, Tensor]
"""uint8 images, n × 1 × height × width, and int64 labels, n."""


class Batches:
    """The batches of one split: float32 images in [0, 1] and labels, gathered on their device.

    The images stay uint8 in memory and are scaled batch by batch. The order of a shuffled epoch, and how its images
    are shifted, is a pure function of (seed, epoch), so it needs no state to be repeated or resumed. With several
    processes each takes every ``world_size``-th row of the same batch.

    Args:
        split: the images and labels.
        batch_size: rows of a batch over all processes together; the last batch of an epoch may be shorter.
        seed: shuffles by this seed; ``None`` keeps the order of the split.
        epoch: gives the epoch when an iteration begins.
        first: gives the batch to begin with, then; 0 unless an epoch is resumed.
        shift: each image of a shuffled epoch is moved by up to this many pixels in both directions; gaps are 0.
        rank: number of this process.
        world_size: number of processes.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        *,
        seed: int | None = None,
        epoch: Callable[[], int] = lambda: 0,
        first: Callable[[], int] = lambda: 0,
        shift: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.images, self.labels = split
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = epoch
        self.first = first
        self.shift = shift
        self.rank = rank
        self.world_size = world_size

    def __len__(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    def __iter__(self) -> Iterator[Split]:
        # A generator, so the epoch is read at the first batch, not when Lightning makes the iterator.
        first = self.first()
        shifts = None
        if self.seed is None:
            rows = torch.arange(len(self.labels))
        else:
            generator = np.random.default_rng([self.seed, self.epoch()])
            rows = torch.from_numpy(generator.permutation(len(self.labels)))
            if self.shift:
                drawn = generator.integers(0, 2 * self.shift + 1, (len(self.labels), 2))
                shifts = torch.from_numpy(drawn).to(self.labels.device)
        for share in rows.to(self.labels.device).split(self.batch_size)[first:]:
            if self.world_size > 1:
                share = self._share(share)
            # index_select: half the time of indexing
            images = self.images.index_select(0, share)
            if shifts is not None:
                images = shifted(images, shifts.index_select(0, share), self.shift)
            yield images.to(torch.float32).div_(255), self.labels.index_select(0, share)

    def _share(self, rows: Tensor) -> Tensor:
        """This process's rows of a batch.

        In training every process gets equally many, the first rows being repeated where the batch does not divide,
        since gradients are averaged over processes; in evaluation each row is counted once.
        """
        if self.seed is not None:
            missing = -len(rows) % self.world_size
            rows = torch.cat([rows, rows.repeat(self.world_size)[:missing]])
        return rows[self.rank :: self.world_size]


def shifted(images: Tensor, origins: Tensor, most: int) -> Tensor:
    """Images, n × channels × height × width, moved within a margin of 0s.

    Args:
        images: what is moved.
        origins: n × 2, where each image's rows and columns begin in its copy with a margin: `most` leaves it in place.
        most: width of the margin.
    """
    height, width = images.shape[-2:]
    padded = torch.nn.functional.pad(images, (most, most, most, most))
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(len(images), device=images.device), :, origins[:, 0], origins[:, 1]]
