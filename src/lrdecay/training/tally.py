"""Loss and accuracy over many batches, counted where the batches are."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Batch = tuple[Tensor, Tensor]


class Outcomes:
    """The outcome of each item that is added: whether it is right, and its loss; of a window of text, the means."""

    def __init__(self) -> None:
        self._right: list[Tensor] = []
        self._loss: list[Tensor] = []

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Adds a batch: logits, batch × … × classes, and labels, batch × …; of several processes one may have none."""
        if not len(labels):
            return
        flat = logits.detach().flatten(end_dim=-2).to(torch.float32)
        losses = F.cross_entropy(flat, labels.flatten(), reduction="none")
        right = (flat.argmax(dim=1) == labels.flatten()).to(torch.float32)
        for kept, values in ((self._right, right), (self._loss, losses)):
            kept.append(values.view(len(labels), -1).mean(dim=1).cpu())

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """All that was added since the last reading, in its order: right, and loss."""
        right, loss = (torch.cat([torch.empty(0), *kept]).numpy() for kept in (self._right, self._loss))
        self._right, self._loss = [], []
        return right, loss


class Tally:
    """Loss and accuracy since the last reading, without a synchronisation with the device until it is read.

    Batches are only kept as they come, and counted many at a time: counting each would be a fifth of all calls
    to torch in a training step.
    """

    MOST = 64
    """Batches that are kept uncounted, at most."""

    def __init__(self) -> None:
        self._aside: list[Batch] = []
        self._sums: Tensor | None = None
        self._count = 0

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Adds a batch."""
        self._aside.append((logits.detach(), labels))
        if len(self._aside) == self.MOST:
            self._count_aside()

    def read(self, reduce: Callable[[Tensor], Tensor], device: torch.device) -> np.ndarray:
        """Since the last reading, over all processes and summed over images: the loss, whether it is right, the square
        of the mean loss of its batch, and 1.
        """
        self._count_aside()
        sums = torch.zeros(3, device=device, dtype=torch.float32) if self._sums is None else self._sums
        all_sums = torch.cat([sums, torch.full_like(sums[:1], self._count)])
        self._sums, self._count = None, 0
        return reduce(all_sums).cpu().numpy().astype(np.float64)

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold to continue; batches stay aside, since another order of sums has other digits."""
        return {"aside": list(self._aside), "sums": self._sums, "count": self._count}

    def load_state(self, state: dict[str, Any], device: torch.device) -> None:
        """Continues from what `state` gave."""
        self._aside = [(logits.to(device), labels.to(device)) for logits, labels in state["aside"]]
        self._sums = None if state["sums"] is None else state["sums"].to(device)
        self._count = state["count"]

    def _count_aside(self) -> None:
        if not self._aside:
            return
        # float32 even where the model computes in a half precision, in which 256 + 1 is 256
        logits = torch.cat([logits for logits, _ in self._aside]).to(torch.float32)
        labels = torch.cat([labels for _, labels in self._aside])
        right = (logits.argmax(dim=1) == labels).sum(dtype=torch.float32)
        losses = F.cross_entropy(logits, labels, reduction="none")
        of_batches = losses.split([len(labels) for _, labels in self._aside])
        squares = torch.stack([batch.sum().square() / max(len(batch), 1) for batch in of_batches])
        sums = torch.stack([losses.sum(), right, squares.sum()])
        self._sums = sums if self._sums is None else self._sums + sums
        self._count += len(labels)
        self._aside = []


class Losses:
    """The losses of batches since the last reading, read as a `Tally`'s sums, with the batches for its images.

    Whoever computes them need not say how many items a batch has.
    """

    def __init__(self) -> None:
        self._kept: list[Tensor] = []

    def add(self, loss: Tensor) -> None:
        """Adds that of a batch."""
        self._kept.append(loss.detach().reshape(()))

    def read(self, reduce: Callable[[Tensor], Tensor], device: torch.device) -> np.ndarray:
        """Since the last reading, over all processes: the losses, 0, their squares, and how many there were."""
        losses = torch.stack(self._kept).to(device, torch.float32) if self._kept else torch.zeros(0, device=device)
        sums = torch.stack([losses.sum(), losses.new_zeros(()), losses.square().sum()])
        all_sums = torch.cat([sums, torch.full_like(sums[:1], len(losses))])
        self._kept = []
        return reduce(all_sums).cpu().numpy().astype(np.float64)

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold to continue."""
        return {"losses": list(self._kept)}

    def load_state(self, state: dict[str, Any], device: torch.device) -> None:
        """Continues from what `state` gave."""
        self._kept = [loss.to(device) for loss in state["losses"]]
