"""The LightningModule: network, optimizer and schedule."""

import dataclasses
import logging
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

from lrdecay.adapter import Averages, Rates, TorchSchedule, momentum_of, scheduler_errors
from lrdecay.durations import Horizon
from lrdecay.errors import BadValue, ConfigError, DivergedError, within
from lrdecay.placement import Schedule
from lrdecay.scales import Scale
from lrdecay.schedules import Constant

log = logging.getLogger(__name__)

Batch = tuple[Tensor, Tensor]


class Tally:
    """Loss and accuracy since the last reading, without a synchronisation with the device until it is read.

    Batches are only put aside as they come, and counted many at a time: counting each would be a fifth of all calls
    to torch in a training step.
    """

    MOST = 64
    """Batches that are put aside, at most."""

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
        """Loss summed over images, images right, and images since the last reading, over all processes."""
        self._count_aside()
        sums = torch.zeros(2, device=device, dtype=torch.float32) if self._sums is None else self._sums
        all_sums = torch.cat([sums, torch.full_like(sums[:1], self._count)])
        self._sums, self._count = None, 0
        return reduce(all_sums).cpu().numpy().astype(np.float64)

    def _count_aside(self) -> None:
        if not self._aside:
            return
        # float32 even where the model computes in a half precision, in which 256 + 1 is 256
        logits = torch.cat([logits for logits, _ in self._aside]).to(torch.float32)
        labels = torch.cat([labels for _, labels in self._aside])
        right = (logits.argmax(dim=1) == labels).sum(dtype=torch.float32)
        sums = torch.stack([F.cross_entropy(logits, labels, reduction="sum"), right])
        self._sums = sums if self._sums is None else self._sums + sums
        self._count += len(labels)
        self._aside = []


def means(sums: np.ndarray, prefix: str) -> dict[str, float]:
    """``{prefix}/loss`` and ``{prefix}/acc`` from what `Tally.read` gives."""
    loss, right, count = sums
    return {f"{prefix}/loss": float(loss / count), f"{prefix}/acc": float(right / count)}


class Classifier(pl.LightningModule):
    """Trains a classifier with cross-entropy under a learning-rate schedule.

    Metrics are on optimizer steps, counted from 0: those logged at step t are ``lr``, the rate that step t used, and
    ``train/loss`` and ``train/acc``, means over the batches since the last logged step, as seen in training;
    ``val/…`` and ``test/…`` carry the number of the last step before them. Where the schedule has a momentum, it is
    logged beside the rate.

    Args:
        model: images, batch × 1 × height × width in [0, 1], to logits, batch × classes.
        make_optimizer: parameters to optimizer; each group's own rate is η₀.
        schedule: multiplies it at every step, or a scheduler of torch's.
        scale: multiplies it too, following a metric.
    """

    def __init__(
        self,
        model: nn.Module,
        make_optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        schedule: Schedule | TorchSchedule,
        scale: Scale | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.make_optimizer = make_optimizer
        self.schedule = schedule
        self.scale = scale
        self.horizon: Horizon | None = None
        self.rates: list[tuple[int, float]] = []
        """The rate that was used, at some two hundred steps spread over the run, the first and the last among them."""
        self.epochs: list[dict[str, Any]] = []
        """One row for each finished epoch: step, lr, and the means of its train and val metrics."""
        self.metrics: dict[str, float] = {}
        """The latest value of every metric logged."""
        self.validated_at = -1
        """Optimizer steps done at the last validation."""
        self._rate = math.nan
        self._momentum: float | None = None
        self._sampled_steps: list[int] = []
        self._rates: Rates | None = None
        self._averages = Averages()
        self._log_every = math.inf
        self._logged_step = 0
        self._train, self._eval = Tally(), Tally()
        self._epoch_sums = np.zeros(3)
        self._val: dict[str, float] = {}

    def configure_optimizers(self) -> Any:
        """The optimizer, and the selected schedule stepped at every optimizer step."""
        self.horizon = self._horizon()
        optimizer = self.make_optimizer(self.parameters())
        self._allow_clipping(optimizer)
        self._check_scale()
        self._averages = Averages(optimizer)
        with within("schedule"):
            if isinstance(self.schedule, TorchSchedule):
                self._check_monitor(self.schedule.monitor)
                return {"optimizer": optimizer, "lr_scheduler": self.schedule.attach(optimizer)}
            self._rates = Rates(optimizer, self.schedule, self.horizon, self.scale)
            self._warn_of_a_fixed_rate()
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self._rates.scheduler, "interval": "step"}}

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_current_fx_name":  # Lightning sets it forty times a step, and torch's way is slow
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        if gradient_clip_val is not None:  # Lightning would go through all of it to find out
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        if self._rates is not None:
            scheduler.step()
            return
        with within("schedule"), scheduler_errors():
            super().lr_scheduler_step(scheduler, metric)

    def _warn_of_a_fixed_rate(self) -> None:
        assert isinstance(self.schedule, Schedule)
        assert self.horizon is not None
        total = self.horizon.total_steps
        if total == 1 or isinstance(self.schedule, Constant):
            return
        if np.ptp(self.schedule.factor(np.arange(min(total, 1_000_000)), self.horizon)) == 0:
            log.warning("schedule: the rate never changes in this run of %d steps: %r", total, self.schedule)

    def _check_monitor(self, monitor: str | None) -> None:
        every = self.trainer.check_val_every_n_epoch
        if monitor is not None and not (self.trainer.enable_validation and every == 1):
            raise BadValue(f"monitor={monitor}: must be measured in every epoch; validation is off or rarer")

    def _check_scale(self) -> None:
        if self.scale is None:
            return
        if isinstance(self.schedule, TorchSchedule):
            raise ConfigError("scale: must be none with schedule=torch")
        if self.scale.metric.startswith("val/") and not self.trainer.enable_validation:
            raise ConfigError(
                f"scale.metric={self.scale.metric}: must be a metric that is logged; without validation "
                "train/loss or train/acc"
            )

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

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self.model(images)
        self._train.add(logits, labels)
        return F.cross_entropy(logits, labels)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        step = self.trainer.global_step
        group = optimizer.param_groups[0]
        self._rate = group["lr"]
        if self._sampled_steps and step >= self._sampled_steps[-1]:
            self.rates.append((self._sampled_steps.pop(), self._rate))
        if self._rates is not None and self._rates.more_than_rates:
            self._rates.before_step(step)
            self._momentum = momentum_of(group)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        done = self.trainer.global_step
        if done - self._logged_step >= self._log_every or (self.trainer.is_last_batch and done > self._logged_step):
            self._log_train(done - 1)

    def on_train_start(self) -> None:
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        self._log_every = every or math.inf  # 0: at the end of an epoch only
        self._averages.train()
        assert self.horizon is not None, "known once the optimizer is configured"
        last = self.horizon.total_steps - 1
        self._sampled_steps = np.unique(np.linspace(0, last, 201).round().astype(int)).tolist()[::-1]

    def on_train_epoch_start(self) -> None:
        self._epoch_sums[:] = 0
        self._val = {}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch)

    def on_validation_start(self) -> None:
        self._averages.use()

    def on_validation_end(self) -> None:
        if self.trainer.state.fn == "fit":
            self._averages.train()

    def on_train_end(self) -> None:
        self._averages.use()

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
        self._follow(train)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["schedule"] = repr(self.schedule)
        checkpoint["horizon"] = dataclasses.asdict(self.horizon) if self.horizon else None
        checkpoint["scale"] = self.scale.state() if self.scale else None
        if self._averages.needed:
            self._averages.use()
            checkpoint["state_dict"] = {key: value.clone() for key, value in self.state_dict().items()}
            checkpoint["optimizer_states"] = [optimizer.state_dict() for optimizer in self.trainer.optimizers]
            self._averages.train()

    def _evaluate(self, batch: Batch) -> None:
        images, labels = batch
        self._eval.add(self.model(images), labels)

    def _log_train(self, step: int) -> None:
        sums = self._train.read(self._reduce, self.device)
        self._epoch_sums += sums
        self._logged_step = step + 1
        metrics = means(sums, "train")
        self._require_finite(metrics["train/loss"], step)
        momentum = {} if self._momentum is None else {"momentum": self._momentum}
        self._log({"lr": self._rate, **momentum, **metrics}, step)

    def _log_evaluation(self, prefix: str) -> dict[str, float]:
        metrics = means(self._eval.read(self._reduce, self.device), prefix)
        step = max(self.trainer.global_step - 1, 0)
        self._require_finite(metrics[f"{prefix}/loss"], step)
        # For callbacks that monitor a metric; the loggers get the numbers themselves, not as float32.
        self.log_dict(metrics, logger=False)
        self._log(metrics, step)
        self._follow(metrics)
        return metrics

    def _follow(self, metrics: dict[str, float]) -> None:
        """Lets the scale read its metric, if it is among these."""
        if self._rates is not None and self.scale is not None and self.scale.metric in metrics:
            self.scale.read(metrics[self.scale.metric])
            self._rates.rescale()

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
