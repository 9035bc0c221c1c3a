"""Schedule-free optimizers: the weights that are trained, and their average."""

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lrdecay.adapters.quantities import is_schedule_free


class Averages:
    """The weights of a schedule-free optimizer, arXiv 2405.15682: it trains some, and means their average to be used.

    Training continues from the same weights to the last bit, however often the average is looked at. With any other
    optimizer nothing happens.
    """

    def __init__(self, optimizer: Optimizer | None = None) -> None:
        self._optimizer: Any = optimizer if is_schedule_free(optimizer) else None
        self.trained: list[Tensor] | None = None

    @property
    def needed(self) -> bool:
        """Whether the average is not what is being trained."""
        return self._optimizer is not None and self.trained is None

    def use(self) -> None:
        """Puts the average in the place of the weights that are trained."""
        if self.needed:
            self.trained = [parameter.detach().clone() for parameter in self._parameters()]
            self._optimizer.eval()

    @torch.no_grad()
    def train(self) -> None:
        """Puts the weights back that are trained."""
        if self._optimizer is None:
            return
        self._optimizer.train()
        if self.trained is not None:
            for parameter, trained in zip(self._parameters(), self.trained, strict=True):
                parameter.copy_(trained)
            self.trained = None

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self._optimizer.param_groups for parameter in group["params"]]
