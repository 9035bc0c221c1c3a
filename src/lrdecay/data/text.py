"""A text, character by character: what follows is to be predicted."""

import functools
import hashlib
import http.client
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lrdecay.data import catalogue
from lrdecay.data.batches import Split
from lrdecay.data.catalogue import SHAKESPEARE_FILE, SHAKESPEARE_MD5, data_folder
from lrdecay.data.download import MissingData, answers, require_published, socket_timeout
from lrdecay.data.tensors import TensorData, resampling
from lrdecay.errors import ConfigError, is_integer, require
from lrdecay.files import write_atomically

SHAKESPEARE_URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
TEST = 0.05
"""Fraction of a text that is for test: its end."""


class Text(TensorData):
    """The characters of a text file in UTF-8; classes are the different ones, in the order of their code points.

    The last 5% are for test, and of the rest the last ``val_size`` for validation. What a model is given are windows of
    ``length`` characters, and what it is to predict the same windows one character further. An epoch reads the training
    text once, in windows that lie side by side; where the first one begins is drawn anew in each epoch.

    Args:
        path: the file.
        length: characters of a window.
        sizes: see `TensorData`; ``val_size`` and ``train_size`` count characters, ``batch_size`` windows. Resampling
            turns the text in a circle by an offset of the seed's own before it is cut.

    Raises:
        BadValue: a size that cannot be.
    """

    items = catalogue.SHAKESPEARE.items

    def __init__(self, path: str | Path, length: int = 64, **sizes: Any) -> None:
        super().__init__(**sizes)
        require(is_integer(length) and length >= 1, "length", length, "an integer, at least 1")
        require(self.shift == 0, "shift", self.shift, "0 with a text")
        self.path = Path(str(path)).expanduser()
        self.stride = int(length)

    @property
    def name(self) -> str:  # type: ignore[override]
        """The file's, and the beginning of its checksum: texts are told apart by what they say."""
        return f"{self.path.stem} {hashlib.md5(_read(self.path.resolve())).hexdigest()[:8]}"

    def load(self) -> tuple[Split, Split]:
        return self._cut(self._codes())

    def draw(self, seed: int) -> tuple[Split, Split]:
        codes = self._codes()
        return self._cut(codes.roll(int(resampling(seed).integers(len(codes)))))

    def placed(self, split: Split) -> Split:
        """Every window of the split, without a copy, and the same one character further."""
        codes, _ = split
        allowed = f"at most half of each split, of which one has {len(codes):,} characters"
        require(len(codes) >= 2 * self.stride, "length", self.stride, allowed)
        windows = codes.unfold(0, self.stride, 1)
        return windows[:-1], windows[1:]

    @property
    def model_sizes(self) -> dict[str, Any]:
        return {"classes": self.classes, "length": self.stride}

    @functools.cached_property
    def classes(self) -> int:
        return int(self._codes().max()) + 1

    def _codes(self) -> Tensor:
        file = self.path.resolve()
        return encoded(_read(file), str(file))

    def _cut(self, codes: Tensor) -> tuple[Split, Split]:
        train = len(codes) - round(TEST * len(codes))
        return (codes[:train], codes[:train]), (codes[train:], codes[train:])


class Shakespeare(Text):
    """The 1,115,394 characters of Shakespeare's plays that character models are usually tried on, 65 different ones.

    Args:
        root: folder with the data: the text is ``tinyshakespeare/input.txt`` in it, or is downloaded into it.
        download: whether to try.
        length: characters of a window.
        sizes: see `Text`.
    """

    name = catalogue.SHAKESPEARE.name

    def __init__(self, root: str | Path = "data", download: bool = True, length: int = 64, **sizes: Any) -> None:
        super().__init__(data_folder(root) / SHAKESPEARE_FILE, length, **sizes)
        self.download = download

    def _codes(self) -> Tensor:
        if not self.path.is_file():
            self._fetch()
        require_published(self.path, SHAKESPEARE_MD5, "shakespeare")
        return super()._codes()

    def _fetch(self) -> None:
        remedy = f"set LRDECAY_DATA to the folder that holds {SHAKESPEARE_FILE}"
        missing = f"no file {self.path}, and"
        if not self.download:
            raise MissingData("shakespeare", f"{missing} data.download is off", remedy)
        if not answers([SHAKESPEARE_URL]):
            raise MissingData("shakespeare", f"{missing} no download server can be reached", remedy)
        try:
            with socket_timeout(), urllib.request.urlopen(SHAKESPEARE_URL) as answer:
                content = answer.read()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, content)
        except (OSError, http.client.HTTPException) as error:  # the latter where it broke off
            raise MissingData("shakespeare", f"{missing} the download failed ({error})", remedy) from error


@functools.lru_cache(maxsize=2)
def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"data.path={file}: {error.strerror}") from error


@functools.lru_cache(maxsize=2)
def encoded(content: bytes, named: str) -> Tensor:
    """The number of each character among the different ones, int64.

    Raises:
        ConfigError: it is not UTF-8, or has too few different characters.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"data.path={named}: is not UTF-8 (byte {error.start:,})") from error
    points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    different, codes = np.unique(points, return_inverse=True)
    if len(different) < 2:
        raise ConfigError(f"data.path={named}: must have at least 2 different characters, not {len(different)}")
    return torch.from_numpy(codes.astype(np.int64))
