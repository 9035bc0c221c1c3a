"""What a training measures: tallies of its batches, a row for each epoch, the best measurement, the rates it used."""

import math
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
from torch import Tensor

from lrdecay.metrics import METRICS, TRAIN_LOSS, Metrics, deviation, means
from lrdecay.training.divergence import DivergenceWatch
from lrdecay.training.tally import Losses, Tally

OnDivergence = Literal["stop", "continue"]
SAMPLED = 201
"""Steps of a run whose rates are kept, the first and the last among them."""


class Journal:
    """Keeps what a run measures, and gives it to the loggers.

    Metrics stand at optimizer steps, counted from 0: those logged at step t are ``lr``, the rate that step t used, and
    ``train/loss`` and ``train/acc``, means over the batches since the last logged step, as seen in training;
    ``val/…`` and ``test/…`` carry the number of the last step before them. Where the schedule has a momentum, or
    parameter groups have rates of their own, ``momentum`` and ``lr/name`` are logged beside the rate.

    Args:
        monitor: the metric by which a measurement is the best, such as ``val/acc``.
        on_divergence: see `DivergenceWatch`.
        known: what is measured.

    Attributes:
        train: what the batches that were trained on come to.
        evaluated: likewise, of batches that were not.
        rates: (step, rate) pairs of some two hundred steps spread over the run.
        epochs: a row for each finished epoch: step, lr, the means of its train and val metrics, and ``train/loss_std``,
            the standard deviation of its batches' losses.
        best: the measurement with the best value of `monitor`, the first of several: the row of its epoch where it was
            made at the epoch's end, otherwise its epoch, step, lr and val metrics.
        beside: what is logged beside the rate, by name.
        metrics: the latest value of every metric.
        validated_at: optimizer steps done at the last validation.
    """

    KEPT = (
        "rates",
        "epochs",
        "metrics",
        "validated_at",
        "best",
        "rate",
        "logged_step",
        "epoch_sums",
        "val",
    )
    """Plain values that a checkpoint holds; version 0.1 wrote some of them with an underscore before the name."""

    def __init__(self, monitor: str, on_divergence: OnDivergence, known: Metrics = METRICS) -> None:
        self.monitor, self.known = monitor, known
        self.divergence = DivergenceWatch(on_divergence)
        self.rates: list[tuple[int, float]] = []
        self.epochs: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {}
        self.metrics: dict[str, float] = {}
        self.validated_at = -1
        self.rate = math.nan
        self.beside: dict[str, float] = {}
        self.logged_step = 0
        self.epoch_sums = [0.0] * 4
        self.val: dict[str, float] = {}
        self.train: Any = Tally()  # or Losses
        self.evaluated = Tally()
        self._log_every = math.inf
        self._sampled_steps: list[int] = []

    def begin(self, trainer: pl.Trainer, total_steps: int) -> None:
        """Prepares for the steps that are to come.

        Args:
            trainer: trains; its ``log_every_n_steps`` of 0 means the end of an epoch only.
            total_steps: of the whole run.
        """
        self._log_every = trainer.log_every_n_steps or math.inf  # type: ignore[attr-defined]
        sampled = np.unique(np.linspace(0, total_steps - 1, SAMPLED).round().astype(int))
        self._sampled_steps = sampled[sampled >= trainer.global_step].tolist()[::-1]

    def begin_epoch(self) -> None:
        """Counts a new epoch from nothing."""
        self.epoch_sums = [0.0] * 4
        self.val = {}

    def note_rate(self, step: int, rate: float) -> None:
        """Notes the rate that a step uses."""
        self.rate = rate
        if self._sampled_steps and step >= self._sampled_steps[-1]:
            self.rates.append((self._sampled_steps.pop(), rate))

    def end_batch(self, trainer: pl.Trainer) -> None:
        """Logs the training metrics where a logging interval or the epoch ends."""
        done = trainer.global_step
        if done - self.logged_step >= self._log_every or (trainer.is_last_batch and done > self.logged_step):
            self._log_train(trainer, done - 1)

    def end_epoch(self, trainer: pl.Trainer) -> dict[str, float]:
        """Adds the row of the epoch, and gives the means of its training metrics."""
        step = trainer.global_step - 1
        if step >= self.logged_step:  # max_steps ended the run within an epoch
            self._log_train(trainer, step)
        row = {"epoch": trainer.current_epoch, "step": step, "lr": self.rate}
        train = self._of_epoch(trainer)
        row |= train | {f"{TRAIN_LOSS}_std": deviation(self.epoch_sums)} | self.val
        self.epochs.append(row)
        if self.best.get("step") == step:
            self.best = row
        self.metrics |= train
        return train

    def end_validation(self, trainer: pl.Trainer) -> dict[str, float]:
        """Logs the validation's metrics, and compares them with the best before."""
        self.val = self.end_evaluation(trainer, "val")
        self.validated_at = trainer.global_step
        self.compare_with_best(trainer, self.val)
        return self.val

    def end_evaluation(self, trainer: pl.Trainer, split: str) -> dict[str, float]:
        """Logs the metrics of a split that was evaluated.

        Raises:
            DivergedError: its loss is not finite, and that is to stop the run.
        """
        metrics = self._evaluated(trainer, split)
        step = max(trainer.global_step - 1, 0)
        self.divergence.look(metrics, split, step, self.rate)
        self._log(trainer, metrics, step)
        return metrics

    def _of_epoch(self, trainer: pl.Trainer) -> dict[str, float]:
        """The training metrics of the epoch."""
        return means(self.epoch_sums, "train")

    def _trained(self, sums: np.ndarray) -> dict[str, float]:
        """The training metrics of the batches since the last time."""
        return means(sums, "train")

    def _evaluated(self, trainer: pl.Trainer, split: str) -> dict[str, float]:
        """The metrics of a split that has been evaluated."""
        return means(self._read(self.evaluated, trainer), split)

    def compare_with_best(self, trainer: pl.Trainer, measured: dict[str, Any]) -> None:
        """Keeps a measurement if it is better than the best before, with the step that the weights had reached."""
        value, best = measured.get(self.monitor, math.nan), self.best.get(self.monitor, math.nan)
        if not self.known[self.monitor].improves(value, best):
            return
        fit = trainer.state.fn == "fit"
        epoch = trainer.current_epoch if fit or not self.epochs else self.epochs[-1]["epoch"]
        self.best = {"epoch": epoch, "step": max(trainer.global_step - 1, 0), "lr": self.rate} | measured

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold to continue."""
        return {name: getattr(self, name) for name in self.KEPT} | self.divergence.state()

    def load_state(self, state: dict[str, Any]) -> None:
        """Continues from what `state` gave; a tally is restored apart, once its device is known."""
        for name in self.KEPT:
            for key in (name, f"_{name}"):
                if key in state:
                    setattr(self, name, state[key])
        self.divergence.load_state(state)

    def _log_train(self, trainer: pl.Trainer, step: int) -> None:
        sums = self._read(self.train, trainer)
        self.epoch_sums = [before + new for before, new in zip(self.epoch_sums, sums.tolist(), strict=True)]
        self.logged_step = step + 1
        metrics = self._trained(sums)
        self.divergence.look(metrics, "train", step, self.rate)
        self._log(trainer, {"lr": self.rate, **self.beside, **metrics}, step)

    def _log(self, trainer: pl.Trainer, metrics: dict[str, float], step: int) -> None:
        self.metrics |= metrics
        self._tell(trainer, metrics, step)

    def _tell(self, trainer: pl.Trainer, metrics: dict[str, float], step: int) -> None:
        """Gives the loggers something, if there is anything."""
        if not metrics:
            return
        epoch = {"epoch": trainer.current_epoch} if trainer.state.fn == "fit" else {}
        for logger in trainer.loggers:
            logger.log_metrics(epoch | metrics, step)

    def _read(self, tally: "Tally | Losses", trainer: pl.Trainer) -> np.ndarray:
        """What was counted since the last reading, over all processes."""

        def reduce(sums: Tensor) -> Tensor:
            return trainer.strategy.reduce(sums, reduce_op="sum")

        return tally.read(reduce, trainer.strategy.root_device)
