"""The LightningModule: network, optimizer and schedule; the one place where a schedule meets an optimizer."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lrdecay.durations import Horizon
from lrdecay.errors import ConfigError, DivergedError, within
from lrdecay.schedules import Schedule

Batch = tuple[Tensor, Tensor]


class Tally:
    """Loss and accuracy since the last reading, summed on the device: no synchronisation until it is read."""

    def __init__(self) -> None:
        self._sums: tuple[Tensor, Tensor] | None = None
        self._count = 0

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Adds a batch; `loss` is its mean loss."""
        right = (logits.argmax(dim=1) == labels).sum()
        if self._sums is None:
            # float32 even where Lightning has made a half precision torch's default, in which 256 + 1 is 256
            zero = torch.zeros((), device=loss.device, dtype=torch.float32)
            self._sums = zero, zero.clone()
        self._sums[0].add_(loss.detach(), alpha=len(labels))
        self._sums[1].add_(right)
        self._count += len(labels)

    def read(self, reduce: Callable[[Tensor], Tensor], device: torch.device) -> np.ndarray:
        """Loss summed over images, images right, and images since the last reading, over all processes."""
        loss, right = self._sums or torch.zeros(2, device=device, dtype=torch.float32)
        count = torch.full_like(loss, self._count)
        self._sums, self._count = None, 0
        return reduce(torch.stack([loss, right, count])).cpu().numpy().astype(np.float64)


def means(sums: np.ndarray, prefix: str) -> dict[str, float]:
    """``{prefix}/loss`` and ``{prefix}/acc`` from what `Tally.read` gives."""
    loss, right, count = sums
    return {f"{prefix}/loss": float(loss / count), f"{prefix}/acc": float(right / count)}


def rate_factor(schedule: Schedule, horizon: Horizon) -> Callable[[int], float]:
    """The schedule as the plain function of the step that ``LambdaLR`` takes.

    (A callable object would have its ``__dict__`` saved and restored with the scheduler.) A block of steps is
    evaluated at once, which costs a hundredth of evaluating each.
    """
    block = 1024

    @functools.lru_cache(maxsize=2)
    def factors(start: int) -> list[float]:
        return schedule.factor(np.arange(start, start + block), horizon).tolist()

    def factor(step: int) -> float:
        return factors(step - step % block)[step % block]

    return factor


class Classifier(pl.LightningModule):
    """Trains a classifier with cross-entropy under a learning-rate schedule.

    Metrics are on optimizer steps, counted from 0: those logged at step t are ``lr``, the rate that step t used, and
    ``train/loss`` and ``train/acc``, means over the batches since the last logged step, as seen in training;
    ``val/…`` and ``test/…`` carry the number of the last step before them.

    Args:
        model: images, batch × 1 × height × width in [0, 1], to logits, batch × classes.
        make_optimizer: parameters to optimizer; each group's own rate is η₀.
        schedule: multiplies it at every step.
    """

    def __init__(
        self,
        model: nn.Module,
        make_optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        schedule: Schedule,
    ) -> None:
        super().__init__()
        self.model = model
        self.make_optimizer = make_optimizer
        self.schedule = schedule
        self.horizon: Horizon | None = None
        self.epochs: list[dict[str, Any]] = []
        """One row for each finished epoch: step, lr, and the means of its train and val metrics."""
        self.metrics: dict[str, float] = {}
        """The latest value of every metric logged."""
        self.validated_at = -1
        """Optimizer steps done at the last validation."""
        self._rate = math.nan
        self._log_every = math.inf
        self._logged_step = 0
        self._train, self._eval = Tally(), Tally()
        self._epoch_sums = np.zeros(3)
        self._val: dict[str, float] = {}

    def configure_optimizers(self) -> Any:
        """The optimizer, and the selected schedule stepped at every optimizer step."""
        self.horizon = self._horizon()
        with within("schedule"):
            self.schedule.resolve(self.horizon)
        optimizer = self.make_optimizer(self.parameters())
        self._allow_clipping(optimizer)
        scheduler = LambdaLR(optimizer, rate_factor(self.schedule, self.horizon))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _allow_clipping(self, optimizer: Optimizer) -> None:
        """Lightning refuses to clip under a fused optimizer in mixed precision; only a scaler is a reason for that."""
        if not getattr(optimizer, "_step_supports_amp_scaling", False):
            return
        precision = self.trainer.precision_plugin
        if getattr(precision, "scaler", None) is None:
            optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
        elif self.trainer.gradient_clip_val:
            raise ConfigError(
                f"optimizer.fused=true: must be false with trainer.precision={self.trainer.precision} and "
                f"trainer.gradient_clip_val={self.trainer.gradient_clip_val}"
            )

    def _horizon(self) -> Horizon:
        trainer = self.trainer
        try:
            trainer.fit_loop.setup_data()  # without max_epochs, Lightning would not count the batches yet
        except (ValueError, MisconfigurationException) as error:
            raise ConfigError(f"trainer: {error}") from error
        batches, total = trainer.num_training_batches, trainer.estimated_stepping_batches
        if not (math.isfinite(batches) and batches >= 1):
            raise ConfigError("trainer: an epoch must have at least 1 training batch, and an end")
        if not math.isfinite(total):
            raise ConfigError("trainer.max_epochs=-1: a schedule needs an end; give trainer.max_steps")
        return Horizon(int(total), math.ceil(batches / trainer.accumulate_grad_batches))

    def sampled_rates(self, points: int = 201) -> list[tuple[int, float]]:
        """The first parameter group's rate at `points` steps spread over the run, the first and last among them."""
        assert self.horizon is not None, "known once the optimizer is configured"
        steps = np.unique(np.linspace(0, self.horizon.total_steps - 1, points).round().astype(int))
        initial = self.trainer.optimizers[0].param_groups[0]["initial_lr"]
        rates = initial * self.schedule.factor(steps, self.horizon)
        return list(zip(steps.tolist(), rates.tolist(), strict=True))

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self.model(images)
        loss = F.cross_entropy(logits, labels)
        self._train.add(loss, logits, labels)
        return loss

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        self._rate = optimizer.param_groups[0]["lr"]

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        done = self.trainer.global_step
        if done - self._logged_step >= self._log_every or (self.trainer.is_last_batch and done > self._logged_step):
            self._log_train(done - 1)

    def on_train_start(self) -> None:
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        self._log_every = every or math.inf  # 0: at the end of an epoch only

    def on_train_epoch_start(self) -> None:
        self._epoch_sums[:] = 0
        self._val = {}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch)

    def on_validation_epoch_end(self) -> None:
        if self.trainer.sanity_checking:  # some batches through untrained weights
            self._eval = Tally()
            return
        self._val = self._log_evaluation("val")
        self.validated_at = self.trainer.global_step

    def on_test_epoch_end(self) -> None:
        self._log_evaluation("test")

    def on_train_epoch_end(self) -> None:
        step = self.trainer.global_step - 1
        if step >= self._logged_step:  # max_steps ended the run within an epoch
            self._log_train(step)
        row = {"epoch": self.trainer.current_epoch, "step": step, "lr": self._rate}
        train = means(self._epoch_sums, "train")
        self.epochs.append(row | train | self._val)
        self.metrics |= train

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["schedule"] = repr(self.schedule)
        checkpoint["horizon"] = dataclasses.asdict(self.horizon) if self.horizon else None

    def _evaluate(self, batch: Batch) -> None:
        images, labels = batch
        logits = self.model(images)
        # A process whose share of a batch is empty has nothing to add.
        if len(labels):
            self._eval.add(F.cross_entropy(logits, labels), logits, labels)

    def _log_train(self, step: int) -> None:
        sums = self._train.read(self._reduce, self.device)
        self._epoch_sums += sums
        self._logged_step = step + 1
        metrics = means(sums, "train")
        self._require_finite(metrics["train/loss"], step)
        self._log({"lr": self._rate, **metrics}, step)

    def _log_evaluation(self, prefix: str) -> dict[str, float]:
        metrics = means(self._eval.read(self._reduce, self.device), prefix)
        step = max(self.trainer.global_step - 1, 0)
        self._require_finite(metrics[f"{prefix}/loss"], step)
        # For callbacks that monitor a metric; the loggers get the numbers themselves, not as float32.
        self.log_dict(metrics, logger=False)
        self._log(metrics, step)
        return metrics

    def _require_finite(self, loss: float, step: int) -> None:
        if not math.isfinite(loss):
            raise DivergedError(f"loss {loss} at step {step}, learning rate {self._rate:g}")

    def _log(self, metrics: dict[str, float], step: int) -> None:
        self.metrics |= metrics
        epoch = {"epoch": self.trainer.current_epoch} if self.trainer.state.fn == "fit" else {}
        for logger in self.trainer.loggers:
            logger.log_metrics(epoch | metrics, step)

    def _reduce(self, sums: Tensor) -> Tensor:
        return self.trainer.strategy.reduce(sums, reduce_op="sum")
