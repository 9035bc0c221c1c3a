"""Batches whose gradients make one optimizer step, where a schedule says how many: the batch size that grows.

Lightning's own count must be the same in every epoch, since every plan of a run rests on it. So it is left at 1, and
horizon, rates, checkpoints and durations are by batch; of a group of batches only the last one lets the optimizer step.
An epoch, and with it a measurement, never ends within a group.
"""

from contextlib import AbstractContextManager, nullcontext

from pytorch_lightning.strategies import ParallelStrategy, Strategy

from lrdecay.schedules import Horizon


class Accumulation:
    """Gathers the gradients of a group of batches.

    Args:
        configured: batches of a group, which the factor of a schedule multiplies; without one each is a group.

    Attributes:
        size: batches of the present group.
        gathered: those of them whose gradients are waiting for the others; they are in no checkpoint.
    """

    def __init__(self, configured: int = 1) -> None:
        self.configured = configured
        self.size = 1
        self.gathered = 0

    def begin(self, size: int, step: int, horizon: Horizon) -> None:
        """Begins a group at a step, unless that is within one.

        Args:
            size: batches that it is to have, where epoch and run have as many left.
            step: of the run, which is a batch.
            horizon: the run's.
        """
        if not self.gathered:
            epoch = horizon.steps_per_epoch or horizon.total_steps
            left = min(epoch - step % epoch, horizon.total_steps - step)
            self.size = max(min(size, left), 1)  # data may go on for longer than planned

    def ends(self, last: bool) -> bool:
        """Whether the group ends with this batch; ``last`` of an epoch that is shorter than announced ends it too."""
        return last or self.gathered + 1 >= self.size

    def apart(self, strategy: Strategy) -> AbstractContextManager[None]:
        """Within it replicas keep their gradients to themselves, as they do until the group ends."""
        return strategy.block_backward_sync() if isinstance(strategy, ParallelStrategy) else nullcontext()
