"""Several processes of one run agree on the step at which it ends."""

from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist


class Agreement:
    """Asks all processes at each step whether one of them was told to stop; the answer comes at the next.

    A process that ended at a step of its own would leave the others waiting for its gradients. The question travels
    while the step is computed, over a group of its own, so that it neither waits for a GPU nor makes one wait.
    """

    def __init__(self, trainer: pl.Trainer) -> None:
        self._alone = trainer.world_size == 1 or not (dist.is_available() and dist.is_initialized())
        if self._alone:
            return
        self._group: Any = dist.new_group(backend="gloo")
        self._flag = torch.zeros(1, dtype=torch.int64)
        self._asked: dist.Work | None = None

    def ask(self, requested: int) -> int:
        """The largest number that was given by any process at the step before; alone, the one that is given.

        Args:
            requested: the number of a signal that has asked for the end, or 0.
        """
        if self._alone:
            return requested
        answer = self.answer()
        self._flag.fill_(requested)
        self._asked = dist.all_reduce(self._flag, dist.ReduceOp.MAX, group=self._group, async_op=True)
        return answer

    def answer(self) -> int:
        """The answer to what was asked last; 0 if nothing was, or where there is nobody else."""
        if self._alone or self._asked is None:
            return 0
        self._asked.wait()
        self._asked = None
        return int(self._flag)
