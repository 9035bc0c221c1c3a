"""The learning-rate range test, arXiv 1506.01186: a short training whose rate grows until the loss explodes."""

import copy
import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
from scipy.ndimage import gaussian_filter1d, median_filter
from torch.optim import Optimizer

from lrdecay.errors import ConfigError, DivergedError, is_integer, is_number, require
from lrdecay.schedules import Horizon, Schedule
from lrdecay.schedules.placement import Array
from lrdecay.training import internals
from lrdecay.training.module import ScheduledModule

WINDOW = 5  # losses of which the median is taken, so that a spike of a step or two is not seen
FLAT = 0.05  # a loss that falls by less, relative to the first ones, has not fallen


@dataclass(frozen=True, kw_only=True)
class Growing(Schedule):
    """From η₀ at the first step to ratio·η₀ at the last: shape = ratio^p, or 1 + (ratio − 1)·p.

    Args:
        ratio: above 1.
        mode: ``exponential`` or ``linear``.
    """

    ratio: float = 1e6
    mode: Literal["exponential", "linear"] = "exponential"

    def shape(self, u: Array, decay_steps: int, horizon: Horizon) -> Array:
        p = np.minimum(u / max(decay_steps - 1, 1), 1)
        return self.ratio**p if self.mode == "exponential" else 1 + (self.ratio - 1) * p


@dataclass(frozen=True)
class RangeTest:
    """What a range test found.

    Attributes:
        rates: the rate of each step that was made, rising.
        losses: the loss of its batch, before the step.
        smoothed: the same without spikes and noise; as long as the losses are finite.
        suggestion: the rate at which the smoothed loss falls fastest; ``None`` if there is none.
        lowest: the rate at which the smoothed loss is lowest.
        verdict: in words.
        mode: how the rate grew.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    suggestion: float | None
    lowest: float | None
    verdict: str
    mode: str


class Probe(pl.Callback):
    """Notes the loss of every optimizer step, and ends the training when it has exploded.

    It has when it is no number, or when the median of the last losses is above four times the lowest median so far.
    """

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.weights: dict[str, Any] | None = None
        self._batches: list[float] = []
        self._lowest = math.inf

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.weights = copy.deepcopy(module.state_dict())  # not before: a module may make its layers late

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, *_: Any) -> None:
        if not outputs:
            raise ConfigError(f"module: {type(module).__name__}'s training_step must return a loss at every step here")
        self._batches.append(float(internals.loss_of_batch(trainer, outputs)))
        if trainer.global_step == len(self.losses):
            return
        self.losses.append(sum(self._batches) / len(self._batches))
        self._batches = []
        latest = self.losses[-WINDOW:]
        median = float(np.median(latest))
        if len(latest) == WINDOW:
            self._lowest = min(self._lowest, median)
        if not math.isfinite(self.losses[-1]) or median > 4 * self._lowest:
            trainer.should_stop = True


def range_test(
    module: ScheduledModule,
    trainer: pl.Trainer,
    data: pl.LightningDataModule,
    low: float,
    high: float,
    mode: Literal["exponential", "linear"] = "exponential",
) -> RangeTest:
    """Trains for the trainer's ``max_steps`` with a rate that grows from `low` to `high`, and puts the weights back.

    Args:
        module: its schedule is replaced for the test; a scale and schedules of other quantities are left out.
        trainer: has a `Probe` among its callbacks.
        data: batches to train on.
        low: the rate of the first step, above 0, whatever the module's optimizer was given.
        high: the rate of the last step, above `low`.
        mode: ``exponential``: by the same factor at every step; ``linear``: by the same amount.
    """
    course = module.course
    kept = course.schedule, course.scale, course.scheduled
    growing = Growing(ratio=high / low, mode=mode)
    course.schedule, course.scale, course.scheduled = growing, None, {}
    course.adjust = lambda optimizer: _set_rate(optimizer, low, course.make_optimizer is None)
    (probe,) = (callback for callback in trainer.callbacks if isinstance(callback, Probe))  # type: ignore[attr-defined]
    try:
        trainer.fit(module, datamodule=data)
    except DivergedError:
        pass  # which is what was looked for; the losses are in the probe
    finally:
        course.schedule, course.scale, course.scheduled = kept
        course.adjust = None
        if probe.weights is not None:
            module.load_state_dict(probe.weights)
    steps = np.arange(len(probe.losses))
    rates = low * growing.factor(steps, Horizon(trainer.max_steps, trainer.max_steps))
    return find_steepest(rates, np.array(probe.losses), mode)


def _set_rate(optimizer: Optimizer, rate: float, by_group: bool) -> None:
    """Gives the optimizer another rate, or with `by_group` its first group; groups keep their ratio to it."""
    configured = optimizer.param_groups[0]["lr"] if by_group else optimizer.defaults["lr"]
    for group in optimizer.param_groups:
        group["lr"] *= rate / configured


def require_range(low: float, high: float, steps: int) -> None:
    """Raises `BadValue` unless there are `steps` from `low` up to `high`."""
    require(is_number(low) and low > 0, "--low", low, "a number above 0")
    require(is_number(high) and high > low, "--high", high, f"a number above --low={low:g}")
    require(is_integer(steps) and steps >= 20, "--steps", steps, "an integer, at least 20")


def find_steepest(rates: np.ndarray, losses: np.ndarray, mode: str = "exponential") -> RangeTest:
    """Finds the rate at which the loss falls fastest, per factor of the rate, if it falls at all.

    Args:
        rates: of each step, rising.
        losses: likewise; the last ones may not be finite.
    """
    finite = int(np.argmin(np.isfinite(losses))) if not np.isfinite(losses).all() else len(losses)
    found = RangeTest(rates, losses, np.array([]), None, None, "", mode)
    if finite == 0:
        why = "the model or the data are at fault, not the rate"
        return replace(found, verdict=f"the loss is {losses[0]} at the first step already: {why}")
    if finite < 2 * WINDOW:
        after = f"at the rate {rates[finite - 1]:.2g}, after {finite} steps of growing"
        return replace(found, verdict=f"the loss has exploded {after}: choose lower rates, with --low and --high")
    smoothed = gaussian_filter1d(median_filter(losses[:finite], WINDOW, mode="nearest"), max(1, len(rates) / 50))
    lowest = int(np.argmin(smoothed))
    # The first loss is that of the untrained weights, even where the first steps make it explode.
    first = min(losses[0], float(np.median(smoothed[: max(WINDOW, finite // 20)])))
    found = replace(found, smoothed=smoothed)
    if lowest == 0 or first - smoothed[lowest] < FLAT * abs(first):
        span = f"from {rates[0]:g} to {rates[finite - 1]:g}"
        return replace(
            found, verdict=f"no rate {span} lowers the loss by {FLAT:.0%}: widen the range or take more steps"
        )
    slope = np.gradient(smoothed, np.log(rates[:finite]))
    steepest = int(np.argmin(slope[: lowest + 1]))
    edge = "; it is still falling at the highest rate: widen the range" if lowest == len(rates) - 1 else ""
    return replace(
        found,
        suggestion=float(rates[steepest]),
        lowest=float(rates[lowest]),
        verdict=f"the loss falls fastest at {rates[steepest]:.2g} and is lowest at {rates[lowest]:.2g}{edge}",
    )
