"""A training step without what nobody asked for.

Lightning goes through closures, wrappers and hooks of every callback at each step, which costs a small network more
than its own Python does. Where none of that would do anything, the same calls are made without it.
"""

from collections import OrderedDict
from contextlib import nullcontext
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.profilers import PassThroughProfiler
from pytorch_lightning.strategies import SingleDeviceStrategy
from torch.optim import LBFGS, Optimizer

from lrdecay.training import internals

SKIPPED = ("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step")


def make_lean(trainer: pl.Trainer) -> None:
    """Gives the trainer the shorter step, unless somebody would notice.

    That is: several processes, a profiler, a gradient scaler or clipping, or a callback to be called within a step.
    """
    if (
        isinstance(trainer.strategy, SingleDeviceStrategy)
        and isinstance(trainer.profiler, NoProfiler)  # type: ignore[attr-defined]
        and getattr(trainer.precision_plugin, "scaler", None) is None
        and trainer.gradient_clip_val is None
        and not any(
            getattr(type(callback), hook) is not getattr(Callback, hook)
            for callback in trainer.callbacks  # type: ignore[attr-defined]
            for hook in SKIPPED
        )
    ):
        internals.replace_step(trainer, _LeanStep(trainer))


class NoProfiler(PassThroughProfiler):
    """Lightning's default makes a context manager for each of some fifty calls at every step, to measure nothing."""

    _nothing = nullcontext()

    def profile(self, action_name: str) -> Any:
        return self._nothing


class _LeanStep(internals.AutomaticOptimization):
    def run(self, optimizer: Optimizer, batch_idx: int, kwargs: OrderedDict[str, Any]) -> dict[str, Any]:
        if isinstance(optimizer, LBFGS):  # calls the closure itself, several times
            return super().run(optimizer, batch_idx, kwargs)
        trainer = self.trainer
        module: Any = trainer.lightning_module
        accumulated = trainer.accumulate_grad_batches
        with trainer.precision_plugin.train_step_context():
            loss = module.training_step(*kwargs.values())
        if batch_idx % accumulated == 0:
            optimizer.zero_grad()
        (loss / accumulated if accumulated > 1 else loss).backward()
        last = trainer.is_last_batch or batch_idx + 1 == trainer.num_training_batches
        if last or (batch_idx + 1) % accumulated == 0:
            step = self.optim_progress.optimizer.step
            step.increment_ready()
            module.on_before_optimizer_step(optimizer)
            optimizer.step()
            step.increment_completed()
        return {"loss": loss.detach()}
