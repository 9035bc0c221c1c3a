"""The norm of the gradient over a training."""

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch.nn.utils import get_total_norm

from lrdecay.errors import require
from lrdecay.metrics import GRADIENT_NORM
from lrdecay.schedules.durations import Duration, DurationLike
from lrdecay.training.module import course_of


class GradientNorm(Callback):
    """Logs the Euclidean norm of the gradient of all parameters, before it is clipped, at every so many steps.

    Of accumulated gradients it is that of their mean, and in several processes that over all of them. Reading it takes
    a small part of a step; at 1% of the steps nothing that can be measured.

    Args:
        every: duration from one step with it to the next, beginning with step 0; at least a step.

    Raises:
        BadValue: it is not a duration, or is 0.
    """

    def __init__(self, every: DurationLike = "1%") -> None:
        require(Duration.parse(every, "every").value > 0, "every", every, "longer than 0")
        self.every = every
        self._steps = 1

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        horizon = course_of(pl_module).horizon
        assert horizon is not None, "known before the first step"
        self._steps = max(Duration.parse(self.every, "every").steps(horizon), 1)

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        step = trainer.global_step
        # Not every step of the run is the optimizer's, where a schedule says how many batches are accumulated.
        before = step - 1 - course_of(pl_module).accumulation.gathered
        if before // self._steps == step // self._steps:
            return
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        with torch.no_grad():
            norm = float(get_total_norm(gradients))
        for logger in trainer.loggers:
            logger.log_metrics({GRADIENT_NORM: norm}, step)
