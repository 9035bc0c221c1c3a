"""What a run made of each item of its test set: ``test_items.npz``, 2 bytes an item and a bit."""

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from lrdecay.files import write_atomically
from lrdecay.records.record import RecordError

FILE = "test_items.npz"


@dataclass(frozen=True)
class Items:
    """Outcomes of the final weights, one for each item of the test set, in its order.

    Attributes:
        right: 1 where it was classified correctly and 0 where not; of a window of text, the fraction of its characters.
        loss: its loss; of a window, the mean over its characters.
    """

    right: np.ndarray
    loss: np.ndarray

    def of(self, metric: str) -> np.ndarray | None:
        """Those of which a metric is the mean: ``test/acc`` or ``test/loss``; ``None`` for any other."""
        return {"test/acc": self.right, "test/loss": self.loss}.get(metric)


def write_items(folder: Path, items: Items) -> None:
    """Writes the outcomes into a run's folder, whole or not at all."""
    bits = bool(np.isin(items.right, (0, 1)).all())
    right = np.packbits(items.right.astype(bool)) if bits else items.right.astype(np.float16)
    loss = np.minimum(items.loss, np.finfo(np.float16).max).astype(
        np.float16
    )  # one infinite loss would hide the others
    write_atomically(folder / FILE, lambda file: np.savez(file, right=right, loss=loss))


def read_items(folder: Path) -> Items | None:
    """The outcomes in a run's folder; ``None`` where there are none, as in runs of before they were kept.

    Raises:
        RecordError: they cannot be read.
    """
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            right, loss = arrays["right"], arrays["loss"].astype(np.float32)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise RecordError(f"{file}: not the outcomes of a test set ({error})") from error
    if right.dtype == np.uint8:
        right = np.unpackbits(right, count=loss.size)
    if loss.ndim != 1 or right.shape != loss.shape:
        raise RecordError(f"{file}: not the outcomes of a test set ({right.size} and {loss.size} of them)")
    return Items(right.astype(np.float32), loss)
