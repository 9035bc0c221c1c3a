"""The batches of a data set that is held as tensors."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

Split = tuple[Tensor, Tensor]
"""What a model is given, and the classes that it is to find, int64: uint8 images, n × channels × height × width, or
float32 signals, n × channels × length, and n labels; windows of a text, n × length, and the same one character on."""


class Batches:
    """The batches of one split, gathered on their device: inputs and labels.

    Images stay uint8 in memory and become float32 in [0, 1] batch by batch; what is not uint8 is given as it is. The
    order of a shuffled epoch, and how its images are shifted, is a pure function of (seed, epoch), so it needs no state
    to be repeated or resumed. With several processes each takes every ``world_size``-th row of the same batch.

    Args:
        split: the inputs and labels.
        batch_size: rows of a batch over all processes together; the last batch of an epoch may be shorter.
        seed: shuffles by this seed; ``None`` keeps the order of the split.
        epoch: gives the epoch when an iteration begins.
        first: gives the batch to begin with, then; 0 unless an epoch is resumed.
        shift: each image of a shuffled epoch is moved by up to this many pixels in both directions; gaps are 0.
        stride: an epoch has only every ``stride``-th row, from the first or, where it is shuffled, from one of the
            first ``stride``: windows of a text, one beside the other, cut elsewhere in each epoch.
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
        stride: int = 1,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.inputs, self.labels = split
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = epoch
        self.first = first
        self.shift = shift
        self.stride = stride
        self.rank = rank
        self.world_size = world_size

    def __len__(self) -> int:
        return -(-self.rows // self.batch_size)

    @property
    def rows(self) -> int:
        """Rows of an epoch."""
        return len(self.labels) // self.stride

    def __iter__(self) -> Iterator[Split]:
        # A generator, so the epoch is read at the first batch, not when Lightning makes the iterator.
        first = self.first()
        shifts = None
        if self.seed is None:
            rows = torch.arange(self.rows) * self.stride
        else:
            generator = np.random.default_rng([self.seed, self.epoch()])
            rows = torch.from_numpy(generator.permutation(self.rows))
            if self.stride > 1:
                rows = rows * self.stride + int(generator.integers(self.stride))
            if self.shift:
                drawn = generator.integers(0, 2 * self.shift + 1, (len(self.labels), 2))
                shifts = torch.from_numpy(drawn).to(self.labels.device)
        for share in rows.to(self.labels.device).split(self.batch_size)[first:]:
            if self.world_size > 1:
                share = self._share(share)
            # index_select: half the time of indexing
            inputs = self.inputs.index_select(0, share)
            if shifts is not None:
                inputs = shifted(inputs, shifts.index_select(0, share), self.shift)
            if inputs.dtype == torch.uint8:
                inputs = inputs.to(torch.float32).div_(255)
            yield inputs, self.labels.index_select(0, share)

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
