"""How long a step takes: measured before a run some of whose durations are times."""

import time
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback

from lrdecay.config.build import build
from lrdecay.errors import ConfigError
from lrdecay.runs.assembly import make_module
from lrdecay.schedules import Constant
from lrdecay.schedules.durations import is_timed

SKIPPED = 10
"""Steps before those that count: the first ones allocate, compile and warm up."""
FEWEST, MOST, ENOUGH = 20, 500, 3.0
"""Steps that count, at least and at most; and seconds that are enough."""


def needs_pace(config: DictConfig) -> bool:
    """Whether a duration of the run is a time."""
    parts = build(config)
    return is_timed(config.get("duration")) or is_timed([parts.schedule, *parts.scheduled.values()])


def measured_pace(config: DictConfig) -> float:
    """Seconds of an optimizer step with its share of the validations, measured by a short training that leaves nothing.

    Raises:
        ConfigError: the run is one of several processes, of which each would measure something else.
    """
    config = OmegaConf.merge(config, {"on_divergence": "continue"})  # type: ignore[assignment]  # no warm-up saves it here
    parts, clock = build(config), Clock()
    own: dict[str, Any] = {"callbacks": [clock], "logger": False, "enable_checkpointing": False, "max_time": None}
    trainer = parts.trainer(**own, max_epochs=-1, max_steps=SKIPPED + MOST, min_epochs=None, min_steps=None)
    if trainer.world_size > 1:
        key = "duration" if is_timed(config.get("duration")) else "schedule"
        raise ConfigError(f"{key}: must be without times for runs of {trainer.world_size} processes")
    module = make_module(parts, trainer.strategy.root_device)
    module.schedule, module.scale, module.scheduled = Constant(), None, {}
    trainer.fit(module, datamodule=parts.data)
    begun = time.perf_counter()
    trainer.validate(module, datamodule=parts.data, verbose=False)
    validation = time.perf_counter() - begun
    assert module.horizon is not None
    assert module.horizon.steps_per_epoch is not None
    every = config.trainer.get("check_val_every_n_epoch", 1) or 1
    return clock.seconds_per_step() + validation / (every * module.horizon.steps_per_epoch)


class Clock(Callback):
    """Notes when steps end, and stops when they are enough."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if trainer.global_step <= len(self.ends):
            return  # a batch whose gradients are accumulated
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())
        counted = len(self.ends) - SKIPPED
        trainer.should_stop = counted >= FEWEST and self.ends[-1] - self.ends[SKIPPED] >= ENOUGH

    def seconds_per_step(self) -> float:
        """The mean over the steps that count; over all, where the data end before."""
        counted = self.ends[SKIPPED:] if len(self.ends) > SKIPPED + 1 else self.ends
        if len(counted) < 2:
            raise ConfigError("duration: must be in steps, where a run is shorter than 2")
        return (counted[-1] - counted[0]) / (len(counted) - 1)
