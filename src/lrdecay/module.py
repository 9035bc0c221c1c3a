"""The LightningModule: network, optimizer and schedule."""

import dataclasses
import inspect
import logging
import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch.nn.functional as F
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch.optim import Optimizer

from lrdecay.adapter import Averages, Rates, TorchSchedule, momentum_of, scheduler_errors
from lrdecay.conflicts import check_undisturbed
from lrdecay.durations import Horizon
from lrdecay.ending import forget_the_end, reopen_epoch
from lrdecay.errors import BadValue, ConfigError, DivergedError, within
from lrdecay.loaders import Order
from lrdecay.placement import Schedule
from lrdecay.randomness import restore_random_state
from lrdecay.scales import Scale
from lrdecay.schedules import Constant
from lrdecay.tally import Batch, Tally, deviation, means

log = logging.getLogger(__name__)

CHECKPOINT_VERSION = 2
"""To be raised when a checkpoint holds something else."""


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
        on_divergence: ``stop`` raises `DivergedError` at a loss that is no finite number, ``continue`` goes on.
        monitor: the metric by which a measurement is the best, ``val/acc`` or ``val/loss``.
    """

    KEPT = (
        "rates", "epochs", "metrics", "validated_at", "last_finite", "divergence",
        "best", "_rate", "_momentum", "_logged_step", "_epoch_sums", "_val",
    )  # fmt: skip
    """Plain values that a checkpoint holds."""

    def __init__(
        self,
        model: nn.Module,
        make_optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        schedule: Schedule | TorchSchedule,
        scale: Scale | None = None,
        on_divergence: Literal["stop", "continue"] = "stop",
        monitor: str = "val/acc",
    ) -> None:
        super().__init__()
        self.model = model
        self.make_optimizer = make_optimizer
        self.schedule = schedule
        self.scale = scale
        self.on_divergence = on_divergence
        self.monitor = monitor
        self.recorded_best: dict[str, Any] = {}
        """Of a run that goes on, what its record has: found when it had ended, it is in no checkpoint."""
        self.extended_at: set[int] = set()
        """Steps from which the run goes on under another horizon."""
        self.horizon: Horizon | None = None
        self.rates: list[tuple[int, float]] = []
        """The rate that was used, at some two hundred steps spread over the run, the first and the last among them."""
        self.epochs: list[dict[str, Any]] = []
        """One row for each finished epoch: step, lr, the means of its train and val metrics, and ``train/loss_std``,
        the standard deviation of its batches' losses."""
        self.best: dict[str, Any] = {}
        """The measurement with the best value of `monitor`, the first of several: the row of its epoch where it was
        made at the epoch's end, otherwise its epoch, step, lr and val metrics."""
        self.metrics: dict[str, float] = {}
        """The latest value of every metric logged."""
        self.validated_at = -1
        """Optimizer steps done at the last validation."""
        self.last_finite: dict[str, Any] = {}
        """The last finite training loss that was logged, and its step."""
        self.divergence: dict[str, Any] | None = None
        """The first loss that was not finite: its step, the rate then, and `last_finite`."""
        self._rate = math.nan
        self._momentum: float | None = None
        self._sampled_steps: list[int] = []
        self._rates: Rates | None = None
        self._order = Order()
        self._configured: tuple[Any, int, int] = (None, 0, 0)
        self._averages = Averages()
        self._log_every = math.inf
        self._logged_step = 0
        self._train, self._eval = Tally(), Tally()
        self._epoch_sums = [0.0] * 4
        self._val: dict[str, float] = {}
        self._checkpoint: dict[str, Any] | None = None

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
                self.schedule.rehearse(optimizer, self.horizon)
                settings = self.schedule.attach(optimizer)
            else:
                self._rates = Rates(optimizer, self.schedule, self.horizon, self.scale)
                self._warn_of_a_fixed_rate()
                settings = {"scheduler": self._rates.scheduler, "interval": "step"}
        accumulated = self.trainer.accumulate_grad_batches
        self._configured = settings["scheduler"], len(optimizer.param_groups), accumulated
        return {"optimizer": optimizer, "lr_scheduler": settings}

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
        # Of a run of many millions not every step is looked at: a million over the whole, and the first million.
        spread = np.linspace(0, total - 1, min(total, 1_000_000)).round().astype(np.int64)
        shown = [spread, np.arange(1_000_000)] if total > 1_000_000 else [spread]
        if all(np.ptp(self.schedule.factor(steps, self.horizon)) == 0 for steps in shown):
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

    # Lightning inspects it at every step, which takes 40 µs where it is not written down.
    training_step.__signature__ = inspect.signature(training_step)  # type: ignore[attr-defined]

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
        assert self.horizon is not None, "known once the optimizer is configured"
        last, done = self.horizon.total_steps - 1, self.trainer.global_step
        sampled = np.unique(np.linspace(0, last, 201).round().astype(int))
        self._sampled_steps = sampled[sampled >= done].tolist()[::-1]
        if self._checkpoint is not None:
            self._go_on(self._checkpoint)
            self._checkpoint = None
        else:
            self._order.begin(self.trainer)
        self._averages.train()

    def on_train_epoch_start(self) -> None:
        check_undisturbed(self.trainer, *self._configured)
        self._order.follow(self.trainer)
        self._epoch_sums = [0.0] * 4
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
        self._compare_with_best(self._val)

    def on_test_epoch_end(self) -> None:
        self._log_evaluation("test")

    def on_train_epoch_end(self) -> None:
        step = self.trainer.global_step - 1
        if step >= self._logged_step:  # max_steps ended the run within an epoch
            self._log_train(step)
        row = {"epoch": self.trainer.current_epoch, "step": step, "lr": self._rate}
        train = means(self._epoch_sums, "train")
        row |= train | {"train/loss_std": deviation(self._epoch_sums)} | self._val
        self.epochs.append(row)
        if self.best.get("step") == step:
            self.best = row
        self.metrics |= train
        self._follow(train)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        own = {name: getattr(self, name) for name in self.KEPT}
        own |= {"schedule": repr(self.schedule), "train": self._train.state(), "version": CHECKPOINT_VERSION}
        own["should_stop"] = self.trainer.should_stop
        own["horizon"] = dataclasses.asdict(self.horizon) if self.horizon else None
        own["scale"] = self.scale.state() if self.scale else None
        if self._averages.needed:
            self._averages.use()
            checkpoint["state_dict"] = {key: value.clone() for key, value in self.state_dict().items()}
            checkpoint["optimizer_states"] = [optimizer.state_dict() for optimizer in self.trainer.optimizers]
            own["trained"] = self._averages.trained
            self._averages.train()
        own["order"] = self._order.state(self.trainer)
        checkpoint["lrdecay"] = own

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if checkpoint["global_step"] in self.extended_at:
            forget_the_end(checkpoint, self.trainer)
            reopen_epoch(checkpoint, self.trainer.accumulate_grad_batches)
        self._checkpoint = checkpoint
        own = checkpoint["lrdecay"]
        for name in self.KEPT:
            if name in own:
                setattr(self, name, own[name])
        if "best" not in own:  # as version 0.1 found it, among whole epochs
            for row in self.epochs:
                self._compare_with_best(row)
        if self.recorded_best.get("step", math.inf) < checkpoint["global_step"]:
            self._compare_with_best(self.recorded_best)
        if self.scale is not None:
            self.scale.load_state(own["scale"])

    def _check_horizon(self, own: dict[str, Any]) -> None:
        assert self.horizon is not None
        horizon = dataclasses.asdict(self.horizon)
        if own["schedule"] != repr(self.schedule):
            raise ConfigError(f"schedule: the run's is {own['schedule']}, not {self.schedule!r}")
        if own["horizon"] != horizon and self.trainer.global_step not in self.extended_at:
            raise ConfigError(f"horizon: the run's is {own['horizon']}, not {horizon}; resume_mode=extend changes it")

    def _go_on(self, checkpoint: dict[str, Any]) -> None:
        """Restores what only exists when everything is set up."""
        own = checkpoint["lrdecay"]
        self._check_horizon(own)
        self._train.load_state(own["train"], self.device)
        self._averages.trained = own.get("trained")
        # Within an epoch, Lightning goes on with its batches. Otherwise nothing is left for it to finish: it would not
        # step torch's plateau at the end of the epoch.
        loop = self.trainer.fit_loop
        loop.restarting = False
        seen = loop.epoch_loop.batch_progress.current.ready
        loop.epoch_loop.restarting = seen > 0
        if seen and not self._order.resume(self.trainer, own.get("order"), seen):
            log.warning(
                "data: its loader cannot tell where epoch %d stopped, and begins at its first batch again: "
                "this run is not what it would have been without the stop", self.trainer.current_epoch + 1,
            )  # fmt: skip
        restore_random_state(checkpoint["random"], self.device)
        if seen:
            self._order.rewind(self.trainer, own.get("order"))
        else:
            self._order.begin(self.trainer, own.get("order"))
        extended = self.trainer.global_step in self.extended_at
        self.trainer.should_stop = own["should_stop"] and not extended  # early stopping's; Lightning forgets it
        if extended and self._rates is not None:
            self._rates.rescale()  # the next step's rate was that of the old horizon

    def _compare_with_best(self, measured: dict[str, Any]) -> None:
        """Keeps a measurement if it is better than the best before, with the step that the weights had come to."""
        value, best = measured.get(self.monitor, math.nan), self.best.get(self.monitor, math.nan)
        if not math.isfinite(value) or (value <= best if self.monitor.endswith("acc") else value >= best):
            return
        fit = self.trainer.state.fn == "fit"
        epoch = self.trainer.current_epoch if fit or not self.epochs else self.epochs[-1]["epoch"]
        self.best = {"epoch": epoch, "step": max(self.trainer.global_step - 1, 0), "lr": self._rate} | measured

    def _evaluate(self, batch: Batch) -> None:
        images, labels = batch
        self._eval.add(self.model(images), labels)

    def _log_train(self, step: int) -> None:
        sums = self._train.read(self._reduce, self.device)
        self._epoch_sums = [before + new for before, new in zip(self._epoch_sums, sums.tolist(), strict=True)]
        self._logged_step = step + 1
        metrics = means(sums, "train")
        if self._finite("train/loss", metrics, step):
            self.last_finite = {"last_loss": metrics["train/loss"], "last_step": step}
        momentum = {} if self._momentum is None else {"momentum": self._momentum}
        self._log({"lr": self._rate, **momentum, **metrics}, step)

    def _log_evaluation(self, prefix: str) -> dict[str, float]:
        metrics = means(self._eval.read(self._reduce, self.device), prefix)
        step = max(self.trainer.global_step - 1, 0)
        self._finite(f"{prefix}/loss", metrics, step)
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

    def _finite(self, key: str, metrics: dict[str, float], step: int) -> bool:
        """Whether a loss is finite.

        Raises:
            DivergedError: it is not, and that is to stop the run.
        """
        if math.isfinite(metrics[key]):
            return True
        if self.divergence is None:
            self.divergence = {"loss": key, "step": step, "lr": self._rate, **self.last_finite}
            last = "no finite one before"
            if self.last_finite:
                last = f"last finite {self.last_finite['last_loss']:.4g} at step {self.last_finite['last_step']}"
            message = f"{key} {metrics[key]} at step {step}, learning rate {self._rate:g}; {last}"
            if self.on_divergence == "stop":
                raise DivergedError(message)
            log.warning("%s; on_divergence=continue", message)
        return False

    def _log(self, metrics: dict[str, float], step: int) -> None:
        self.metrics |= metrics
        epoch = {"epoch": self.trainer.current_epoch} if self.trainer.state.fn == "fit" else {}
        for logger in self.trainer.loggers:
            logger.log_metrics(epoch | metrics, step)

    def _reduce(self, sums: Tensor) -> Tensor:
        return self.trainer.strategy.reduce(sums, reduce_op="sum")
