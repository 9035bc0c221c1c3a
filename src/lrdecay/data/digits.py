"""The digits that ship inside scikit-learn."""

import torch

from lrdecay.data import catalogue
from lrdecay.data.batches import Split
from lrdecay.data.tensors import TensorData


class Digits(TensorData):
    """The 1,797 handwritten digits that ship inside scikit-learn, 8×8, enlarged to 28×28.

    The last 20% are for test, as they stand: they come from other writers than the first, unless each seed deals them
    out anew. Each pixel becomes 3×3
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
