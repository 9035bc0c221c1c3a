"""How long a step takes: measured before a run some of whose durations are times."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback

from lrdecay.config.build import Parts, build
from lrdecay.config.horizon import batches_per_step
from lrdecay.errors import ConfigError, is_integer, is_number
from lrdecay.files import write_atomically
from lrdecay.records.identity import determining
from lrdecay.runs.assembly import make_module
from lrdecay.schedules import Constant
from lrdecay.schedules.durations import is_timed

SKIPPED = 10
"""Steps before those that count: the first ones allocate, compile and warm up."""
FEWEST, MOST, ENOUGH = 20, 500, 3.0
"""Steps that count, at least and at most; and seconds that are enough."""
FILE = "pace.json"
"""In a sweep's folder: seconds of a step, by what they depend on."""
NO_MATTER = ("seed", "schedule", "scale", "duration", "ssr", "optimizer.lr", "trainer.max", "trainer.min")
"""How the keys begin on which a step's time does not depend."""


def needs_pace(parts: Parts) -> bool:
    """Whether a duration of the run is a time."""
    return is_timed(parts.config.get("duration")) or is_timed([parts.schedule, *parts.scheduled.values()])


def pace(config: DictConfig, sweep: Path | None) -> float:
    """Seconds of an optimizer step with its share of the validations.

    Jobs of a sweep that take as long have one pace, which the first of them measures: they are to be as long as each
    other, however many of them share the machine.

    Args:
        config: of the run.
        sweep: the folder of its sweep, if it is a job of one.

    Raises:
        ConfigError: the run is one of several processes, of which each would measure something else.
    """
    if sweep is None:
        return measured_pace(config)
    from filelock import FileLock  # not before it is needed: it imports asyncio

    plain: Any = OmegaConf.to_container(config, resolve=True)
    kept = {key: value for key, value in determining(plain, None).items() if not key.startswith(NO_MATTER)}
    key = hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()[:16]
    file = sweep / FILE
    with FileLock(sweep / f".{FILE}.lock"):
        known = json.loads(file.read_text()) if file.is_file() else {}
        if key not in known:
            known[key] = measured_pace(config)
            write_atomically(file, json.dumps(known).encode())
    return float(known[key])


def measured_pace(config: DictConfig) -> float:
    """The same, measured by a short training and a validation that leave nothing behind."""
    if config.trainer.get("fast_dev_run"):
        raise ConfigError("trainer.fast_dev_run: must be false where a duration is a time, which is measured")
    config = OmegaConf.merge(config, {"on_divergence": "continue"})  # type: ignore[assignment]  # no warm-up saves it here
    parts, clock = build(config), Clock()
    own: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "max_time": None, "num_sanity_val_steps": 0}
    steps = {"max_epochs": -1, "max_steps": SKIPPED + MOST, "min_epochs": None, "min_steps": None}
    trainer = parts.trainer(**own, **steps, callbacks=[clock], limit_val_batches=0)
    if trainer.world_size > 1:
        key = "duration" if is_timed(config.get("duration")) else "schedule"
        raise ConfigError(f"{key}: cannot use a time with {trainer.world_size} processes; give steps or epochs")
    module = make_module(parts, trainer.strategy.root_device)
    course = module.course
    course.schedule, course.scale, course.scheduled = Constant(), None, {}
    trainer.fit(module, datamodule=parts.data)
    assert course.horizon is not None
    assert course.horizon.steps_per_epoch is not None
    often = _validations(config, course.horizon.steps_per_epoch)
    begun = time.perf_counter()
    if often:
        parts.trainer(**own, callbacks=[]).validate(module, datamodule=parts.data, verbose=False)
    return clock.seconds_per_step() + often * (time.perf_counter() - begun)


def _validations(config: DictConfig, steps_per_epoch: int) -> float:
    """How many validations there are to a step."""
    trainer = config.trainer
    every, interval = trainer.get("check_val_every_n_epoch", 1), trainer.get("val_check_interval")
    if trainer.get("limit_val_batches") == 0:
        return 0.0
    if interval is None or (is_number(interval) and not is_integer(interval)):
        return 1 / ((every or 1) * steps_per_epoch * (1.0 if interval is None else float(interval)))
    if is_integer(interval):
        return float(batches_per_step(config) / (interval * (every or 1)))
    return 0.0  # every so many minutes


class Clock(Callback):
    """Times steps, and stops when they are enough."""

    def __init__(self) -> None:
        self.done, self.counted, self._begun, self._seconds = 0, 0, time.perf_counter(), 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if trainer.global_step == self.done:
            return  # a batch whose gradients are accumulated
        self.done = trainer.global_step
        if self.done <= SKIPPED:
            _wait_for(pl_module.device)
            self._begun = time.perf_counter()
            return
        # Until it is enough nobody waits for the device, as in training.
        enough = self.done - SKIPPED >= FEWEST and time.perf_counter() - self._begun >= ENOUGH
        if enough or self.done == SKIPPED + MOST:
            self._close(pl_module)
            trainer.should_stop = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.counted:
            self._close(pl_module)

    def _close(self, module: pl.LightningModule) -> None:
        _wait_for(module.device)
        self.counted, self._seconds = self.done - SKIPPED, time.perf_counter() - self._begun

    def seconds_per_step(self) -> float:
        """The mean over the steps that count."""
        return self._seconds / self.counted


def _wait_for(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize()
