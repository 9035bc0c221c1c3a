"""Data sets as tensors in memory, on the run's device, and the batches drawn from them.

A data set is a `TensorData` with a ``name`` and a ``load`` method; everything else (validation split, device,
batches, shares of distributed processes) is common to all.
"""

import functools
import hashlib
import logging
import queue
import socket
import tempfile
import threading
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor

from lrdecay import catalogue
from lrdecay.catalogue import MNIST_FILES, data_folder, mnist_on_disk
from lrdecay.errors import ConfigError, is_integer, require
from lrdecay.splits import split_sizes

log = logging.getLogger(__name__)

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
        shift: each image of a shuffled epoch is moved by up to so many pixels in both directions, 0s following it.
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


class TensorData(LightningDataModule, ABC):
    """A data set held as tensors; a subclass gives ``name`` and ``load``.

    Args:
        batch_size: training images in a batch, over all processes together.
        eval_batch_size: images in a batch of validation and test.
        val_size: the last so many training images are for validation: a number, or a part such as ``"20%"``.
        train_size: use only the first so many of the images that remain; ``None`` for all.
        shift: augmentation: each training image is moved by up to so many pixels, anew in every epoch.

    Raises:
        BadValue: a size that cannot be, or does not fit the data.
    """

    name: str

    def __init__(
        self,
        batch_size: int = 64,
        eval_batch_size: int = 256,
        val_size: int | str = "20%",
        train_size: int | None = None,
        shift: int = 0,
    ) -> None:
        super().__init__()
        _require_count("batch_size", batch_size)
        _require_count("eval_batch_size", eval_batch_size)
        if train_size is not None:
            _require_count("train_size", train_size)
        require(is_integer(shift) and 0 <= shift <= 28, "shift", shift, "an integer in [0, 28]")
        self.batch_size = int(batch_size)  # torch takes no integers of numpy's
        self.eval_batch_size = int(eval_batch_size)
        self.shift = int(shift)
        self.val_size = val_size
        self.train_size = train_size
        self.seed = 0
        self._splits: dict[str, Split] = {}

    @abstractmethod
    def load(self) -> tuple[Split, Split]:
        """Training and test images and labels, on the CPU."""

    def prepare(self, seed: int, device: torch.device) -> None:
        """Loads, splits and moves the data; `seed` orders the training batches."""
        (images, labels), test = self.load()
        used, val = split_sizes(len(labels), self.val_size, self.train_size)
        require(self.batch_size <= used, "batch_size", self.batch_size, f"at most the {used} training images")
        splits = {
            "train": (images[:used], labels[:used]),
            "val": (images[-val:], labels[-val:]),
            "test": test,
        }
        self._splits = {key: (x.to(device), y.to(device)) for key, (x, y) in splits.items()}
        self.seed = seed

    @property
    def sizes(self) -> dict[str, int]:
        """Images in each split."""
        return {key: len(labels) for key, (_, labels) in self._splits.items()}

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
        """The first training images and labels as a batch holds them, on the CPU."""
        images, labels = self._splits["train"]
        return next(iter(Batches((images[:count].cpu(), labels[:count].cpu()), count)))

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
            rank=trainer.global_rank,
            world_size=trainer.world_size,
        )


class MNIST(TensorData):
    """MNIST (LeCun, Cortes, Burges): 60,000 training and 10,000 test images, 28×28, in ``root/MNIST/raw``.

    Args:
        root: folder with the data; missing files are downloaded into it, with short time-outs.
        download: whether to try.
        sizes: see `TensorData`.
    """

    name = catalogue.MNIST.name

    def __init__(self, root: str | Path = "data", download: bool = True, **sizes: Any) -> None:
        super().__init__(**sizes)
        self.root = data_folder(root)
        self.download = download

    def load(self) -> tuple[Split, Split]:
        self.fetch()
        return read_mnist(self.root.resolve())

    def fetch(self) -> None:
        """Sees to it that the files are on disk, or raises `MissingData`."""
        if mnist_on_disk(self.root):
            return
        if not self.download:
            raise MissingData(self.root, "data.download is off")
        download_mnist(self.root)


class Digits(TensorData):
    """The 1,797 handwritten digits that ship inside scikit-learn, 8×8, enlarged to 28×28.

    The last 20% are for test, as they stand: they come from other writers than the first. Each pixel becomes 3×3
    pixels, in a margin of 2.
    """

    name = catalogue.DIGITS.name

    def load(self) -> tuple[Split, Split]:
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
        small = torch.from_numpy(pixels).reshape(-1, 1, 8, 8).mul(255 / 16).round().to(torch.uint8)
        large = small.repeat_interleave(3, dim=2).repeat_interleave(3, dim=3)
        images = torch.nn.functional.pad(large, (2, 2, 2, 2))
        classes = torch.from_numpy(labels).long()
        train = round(0.8 * len(classes))
        return (images[:train], classes[:train]), (images[train:], classes[train:])


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


class MissingData(ConfigError):
    """MNIST is neither on disk nor to be downloaded; ``why`` is the reason in short."""

    def __init__(self, root: Path, why: str) -> None:
        self.why = f"no MNIST files in {root / 'MNIST/raw'}, and {why}"
        super().__init__(
            f"data=mnist: {self.why}; set LRDECAY_DATA to the folder that holds MNIST/raw, "
            "or use data=digits, which needs no files"
        )


@functools.lru_cache(maxsize=1)
def read_mnist(root: Path) -> tuple[Split, Split]:
    """Reads the checked files, once a process: a sweep shares them.

    Raises:
        ConfigError: a file differs from the one published; the message names it.
    """
    raw = root / "MNIST/raw"
    for name, published in MNIST_FILES.items():
        with (raw / name).open("rb") as file:
            found = hashlib.file_digest(file, "md5").hexdigest()
        if found != published:
            size = (raw / name).stat().st_size
            raise ConfigError(
                f"data=mnist: {raw / name} is damaged ({size:,} bytes, md5 {found}, expected {published}); "
                "delete it to download it again, or put a good copy there"
            )
    from torchvision.datasets import MNIST as TorchvisionMNIST

    train, test = (TorchvisionMNIST(str(root), train=part) for part in (True, False))
    return (train.data.unsqueeze(1), train.targets), (test.data.unsqueeze(1), test.targets)


def download_mnist(root: Path) -> None:
    """Downloads MNIST with torchvision, never waiting long for a network that is not there.

    The files are put in place only when all are complete, so that processes which download at once do not meet
    half a file.

    Raises:
        MissingData: no mirror answers, or the download fails.
    """
    from torchvision.datasets import MNIST as TorchvisionMNIST

    if not _answers(TorchvisionMNIST.mirrors, timeout=5):
        raise MissingData(root, "no download server can be reached")
    raw = root / "MNIST/raw"
    try:
        raw.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as folder:
            with _socket_timeout(30):
                TorchvisionMNIST(folder, download=True)
            for name in MNIST_FILES:
                (Path(folder) / "MNIST/raw" / name).replace(raw / name)
    except (RuntimeError, OSError) as error:
        raise MissingData(root, f"the download failed ({error})") from error


def _answers(mirrors: list[str], timeout: float) -> bool:
    """Whether a mirror answers within `timeout` seconds.

    Asked in daemon threads, because a name look-up has no time-out of its own.
    """
    answers: queue.Queue[bool] = queue.Queue()

    def ask(mirror: str) -> None:
        try:
            with urllib.request.urlopen(mirror + "train-labels-idx1-ubyte.gz", timeout=timeout):
                answers.put(True)
        except (OSError, ValueError) as error:
            log.debug("%s: %s", mirror, error)
            answers.put(False)

    for mirror in mirrors:
        threading.Thread(target=ask, args=(mirror,), daemon=True).start()
    deadline = time.monotonic() + timeout
    try:
        return any(answers.get(timeout=max(deadline - time.monotonic(), 0)) for _ in mirrors)
    except queue.Empty:
        return False


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _require_count(key: str, value: object) -> None:
    require(is_integer(value) and int(value) >= 1, key, value, "an integer, at least 1")  # type: ignore[call-overload]
