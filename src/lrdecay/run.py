"""One run: ``prepare`` builds it from a configuration, ``fit`` trains it, ``finish`` tests and records it."""

import logging
import math
import os
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from lrdecay import console
from lrdecay.building import data_set_name, make_data, make_module, make_trainer, take_weights
from lrdecay.callbacks import RecordKeeper
from lrdecay.checkpoints import BEST, FOLDER, LAST, Checkpoints, read_checkpoint
from lrdecay.data import TensorData
from lrdecay.ending import ended_by
from lrdecay.errors import ConfigError, DivergedError
from lrdecay.files import remove_unfinished, write_atomically
from lrdecay.identity import determining, differences
from lrdecay.jobs import job_of_many, outcome_recorded
from lrdecay.lean import make_lean
from lrdecay.locks import locked
from lrdecay.loggers import rewind
from lrdecay.models import parameter_count
from lrdecay.module import Classifier
from lrdecay.overrides import names
from lrdecay.process import prepare_process
from lrdecay.record import Record, RecordError, read
from lrdecay.resume import decides_the_end, own_configuration
from lrdecay.rules import check
from lrdecay.stopping import Stop

log = logging.getLogger(__name__)


@dataclass
class Run:
    """A run that is ready to be trained."""

    config: DictConfig
    record: Record
    data: pl.LightningDataModule
    module: Classifier
    trainer: pl.Trainer
    stop: Stop
    checkpoint: Path | None
    """Where it goes on."""


def run(config: DictConfig) -> float:
    """Runs what Hydra has composed, in the output folder that Hydra made.

    Returns:
        The final value of ``config.metric``, for sweepers that optimize it.
    """
    job = HydraConfig.get()
    # Of the working directory that the command was given in, whatever hydra.job.chdir has made of it since.
    _make_absolute(config, Path(job.runtime.cwd))
    alone = job.mode == RunMode.RUN
    built = names(config, job.runtime.choices)
    choices = {group: name for group, name in built.items() if "/" not in group}
    overrides: Any = OmegaConf.to_container(job.overrides.task, resolve=False)
    directory, stop = Path(job.runtime.output_dir), Stop()
    extends = config.resume_mode == "extend"
    if config.resume is not None:
        config, choices = own_configuration(config, choices, overrides, own_folder(job))
    unresolved: Any = OmegaConf.to_container(config, resolve=False)
    with locked(directory), stop.on_signals():
        record = Record.start(directory, unresolved, choices, overrides, sys.argv)
        record, going_on = begun(record, config, extends)
        if record.settled and (going_on or {}).get("mode") != "extend":
            return _said_before(record, config.metric, alone)
        sweep = None if alone else Path(job.sweep.dir).name
        with outcome_recorded(record, stop, sweep), job_of_many(job):
            this = prepare(config, record, RecordKeeper(record, stop, config if alone else None), going_on)
            fit(this)
            value = finish(this)
            if alone and this.trainer.is_global_zero:
                console.say(console.ended(record))
    return value


def _make_absolute(config: DictConfig, started: Path) -> None:
    """Keeps relative paths of the command line what they were where it was given, if the job runs elsewhere."""
    if started == Path.cwd():
        return
    for key in ("resume", "data.root"):
        if (path := OmegaConf.select(config, key)) is not None:
            OmegaConf.update(config, key, str(started / Path(str(path)).expanduser()))


def own_folder(job: Any) -> Path:
    """The folder of the project's own configuration."""
    return next(Path(source.path) for source in job.runtime.config_sources if source.provider == "main")


def begun(record: Record, config: DictConfig, extends: bool) -> tuple[Record, dict[str, Any] | None]:
    """The record of a run that goes on, if there is one in the folder; otherwise the one given.

    Returns:
        The record, and what to note in it about going on once that is certain; ``None`` for a new run.

    Raises:
        ConfigError: the run in the folder is another one.
    """
    if not record.file.exists():
        return record, None
    try:
        earlier = read(record.file)
    except RecordError as error:
        log.warning("%s: the run starts from the beginning", error)
        return record, None
    plain: Any = OmegaConf.to_container(config, resolve=True)
    changed = differences(determining(earlier.config), determining(plain))
    if others := [change for change in changed if not (extends and decides_the_end(change))]:
        raise ConfigError(
            f"{console.relative(record.directory)}: already contains a different run: {'; '.join(others)}"
        )
    going_on: dict[str, Any] = {}
    if earlier.code != record.code and not earlier.settled:
        log.warning("%s: the code has changed since it began", console.relative(record.directory))
        going_on = {"code": record.code, "commit": record.commit}
    if extends and changed:  # and not the same command once more
        going_on |= {"mode": "extend", "total_steps": earlier.total_steps, "command": record.command}
        earlier.composed = record.composed
    return earlier, going_on


def _said_before(record: Record, metric: str, alone: bool) -> float:
    """What the run came to before; it would come to the same again."""
    if record.status == "diverged":
        raise DivergedError(f"{console.relative(record.directory)}: diverged: {record.error}")
    if alone:
        console.say(f"complete since before: {console.ended(record)}")
    value = record.final.get(metric)
    return math.nan if value is None else value


def prepare(config: DictConfig, record: Record, keeper: RecordKeeper, going_on: dict[str, Any] | None = None) -> Run:
    """Builds everything that the configuration names, and loads the data and the checkpoint to go on from.

    Args:
        config: resolved as far as it goes by Hydra.
        record: of the run; one that goes on is left as it is on disk until everything stands.
        keeper: of the record.
        going_on: what to note about going on; ``None`` for a new run.

    Raises:
        ConfigError: a value cannot be used; nothing has been trained.
    """
    plain: Any = OmegaConf.to_container(config, resolve=True)
    record.config = plain
    record.underway = going_on is None
    check(config)
    record.process = prepare_process(config.process.tune, config.process.threads)
    data = make_data(config)
    name = data_set_name(data)
    if record.data not in (None, name):
        raise ConfigError(f"data: is {name} now, and was {record.data} when the run began")
    record.data = name
    trainer = make_trainer(config, record, keeper)
    make_lean(trainer)
    if going_on is None and trainer.is_global_zero:
        record.write()
    # The best measurement and best.ckpt are by one metric.
    monitors = [callback.monitor for callback in trainer.checkpoint_callbacks if isinstance(callback, Checkpoints)]
    module = make_module(config, data, trainer.strategy.root_device, next(filter(None, monitors), None))
    checkpoint = _go_on(record, going_on, trainer.is_global_zero)
    module.recorded_best = dict(record.best)
    module.extended_at = {row["step"] for row in record.resumed if row.get("mode") == "extend"}
    if config.resume_mode == "weights" and checkpoint is None:
        take_weights(module, Path(config.resume) / FOLDER / LAST)
    if isinstance(data, TensorData):
        record.sizes = data.sizes
    record.parameters = parameter_count(module)
    record.device = str(trainer.strategy.root_device)
    record.threads = torch.get_num_threads()
    return Run(config, record, data, module, trainer, keeper.stop, checkpoint)


def _go_on(record: Record, going_on: dict[str, Any] | None, first_process: bool) -> Path | None:
    """Notes that the run goes on, and takes out of the logs what came after the checkpoint from which it does.

    Returns:
        The checkpoint; ``None`` where there is none, and the run begins anew.
    """
    path = record.directory / FOLDER / LAST
    checkpoint = read_checkpoint(path) if going_on is not None and os.path.lexists(path) else None
    if going_on is not None:
        if checkpoint is None and "mode" in going_on:
            raise ConfigError(f"resume_mode=extend: {path} is not there; nothing can be extended")
        if checkpoint is None and record.epochs:
            log.warning("%s is missing: the run restarts", path)
        record.resumed.append({"step": checkpoint["global_step"] if checkpoint else 0} | going_on)
        if checkpoint is None:
            record.epochs, record.rates, record.epoch_seconds = [], [], []
            record.go_on(0.0)
    record.status, record.error, record.traceback, record.underway = "running", None, None, True
    record.ended_by = None
    if first_process:
        remove_unfinished(record.directory)
        rewind(record.directory, checkpoint["logs"] if checkpoint else {})
        if checkpoint is None:  # what may lie there is not this run's
            for name in (LAST, BEST):
                (record.directory / FOLDER / name).unlink(missing_ok=True)
        record.write()
    return path if checkpoint else None


def fit(run: Run) -> None:
    """Trains and validates.

    Raises:
        Interrupted: a signal asked for it; the last checkpoint is where it stopped.
        DivergedError: the loss is no finite number.
    """
    # Several processes would not agree on the step.
    with run.stop.at_a_step() if run.trainer.world_size == 1 else nullcontext():
        run.trainer.fit(run.module, datamodule=run.data, ckpt_path=run.checkpoint, weights_only=True)
    run.stop.obey()


def finish(run: Run) -> float:
    """Tests the final weights, draws ``lr.png`` and completes the record.

    Returns:
        The final value of ``config.metric``; NaN where validation was switched off.
    """
    module, record, trainer, metric = run.module, run.record, run.trainer, run.config.metric
    if module.validated_at != trainer.global_step:
        trainer.validate(module, datamodule=run.data, verbose=False)
    trainer.test(module, datamodule=run.data, verbose=False)
    record.final = {key: value for key, value in module.metrics.items() if "/" in key}
    record.epochs, record.rates, record.best = module.epochs, module.rates, module.best
    assert module.horizon is not None, "fit has configured the optimizer"
    record.total_steps = module.horizon.total_steps
    record.steps_per_epoch = module.horizon.steps_per_epoch
    record.steps, record.ended_by = trainer.global_step, ended_by(trainer, module.horizon.total_steps)
    record.divergence = module.divergence
    if not all(math.isfinite(value) for key, value in module.metrics.items() if "/" in key):
        raise DivergedError(f"it ended with {console.result(record)}")
    if trainer.is_global_zero:
        from lrdecay.figures import rate_figure  # matplotlib: not before the training

        figure = rate_figure(record.rates, record.steps_per_epoch, console.named_schedule(record.choices))
        write_atomically(record.directory / "lr.png", figure)
        record.status = "completed"
        record.write()
    return module.metrics.get(metric, math.nan)
