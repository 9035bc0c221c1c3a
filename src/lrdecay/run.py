"""One run: ``prepare`` builds it from a configuration, ``fit`` trains it, ``finish`` tests and records it."""

import logging
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger

from lrdecay import console
from lrdecay.adapter import TorchSchedule
from lrdecay.callbacks import Hyperparameters, RecordKeeper
from lrdecay.checkpoints import BEST, FOLDER, LAST, AtomicCheckpointIO, Checkpoints, read_checkpoint
from lrdecay.configuration import build, check
from lrdecay.data import TensorData
from lrdecay.errors import ConfigError, DivergedError, within
from lrdecay.jobs import job_of_many, outcome_recorded
from lrdecay.lean import NoProfiler, make_lean
from lrdecay.locks import locked
from lrdecay.loggers import rewind
from lrdecay.messages import one_line
from lrdecay.models import parameter_count
from lrdecay.module import Classifier
from lrdecay.placement import Schedule
from lrdecay.process import prepare_process
from lrdecay.record import Record, RecordError, determining, flatten, read, remove_unfinished, write_atomically
from lrdecay.resume import differences, own_configuration
from lrdecay.scales import Scale
from lrdecay.stopping import Stop
from lrdecay.sweep import better

log = logging.getLogger(__name__)

# Lightning's warnings about what is meant to be as it is here.
for expected in (
    r"The number of training batches \(",  # the last batch of an epoch is logged, whatever log_every_n_steps
    "It is recommended to use .*sync_dist",  # the module reduces over processes itself
    ".*LeafSpec",  # Lightning's own use of torch
    "You're resuming from a checkpoint that ended before",  # batches are a function of seed and epoch
):
    warnings.filterwarnings("ignore", message=expected)


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
    alone = job.mode == RunMode.RUN
    choices = {key: str(value) for key, value in job.runtime.choices.items() if "/" not in key}
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
        log.warning("%s: the run starts anew", error)
        return record, None
    plain: Any = OmegaConf.to_container(config, resolve=True)
    changed = differences(determining(earlier.config), determining(plain))
    if others := [change for change in changed if not (extends and change.startswith("trainer."))]:
        raise ConfigError(f"{console.relative(record.directory)}: has another run: {'; '.join(others)}")
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
    data: pl.LightningDataModule = build(config.data, "data")
    name = data_set_name(data)
    if record.data not in (None, name):
        raise ConfigError(f"data: is {name} now, and was {record.data} when the run began")
    record.data = name
    trainer = _build_trainer(config, record, keeper)
    make_lean(trainer)
    if going_on is None and trainer.is_global_zero:
        record.write()
    module = make_module(config, data, trainer.strategy.root_device)
    checkpoint = _go_on(record, going_on, trainer.is_global_zero)
    module.extended_at = {row["step"] for row in record.resumed if row.get("mode") == "extend"}
    if config.resume_mode == "weights" and checkpoint is None:
        take_weights(module, Path(config.resume) / FOLDER / LAST)
    if isinstance(data, TensorData):
        record.sizes = data.sizes
    record.parameters = parameter_count(module)
    record.device = str(trainer.strategy.root_device)
    record.threads = torch.get_num_threads()
    return Run(config, record, data, module, trainer, keeper.stop, checkpoint)


def data_set_name(data: pl.LightningDataModule) -> str:
    """The name by which records tell data sets apart."""
    return getattr(data, "name", None) or type(data).__name__


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
            log.warning("%s is not there: the run begins anew", path)
        record.resumed.append({"step": checkpoint["global_step"] if checkpoint else 0} | going_on)
        if checkpoint is None:
            record.epochs, record.rates, record.epoch_seconds = [], [], []
            record.go_on(0.0)
    record.status, record.error, record.traceback, record.underway = "running", None, None, True
    if first_process:
        remove_unfinished(record.directory)
        rewind(record.directory, checkpoint["logs"] if checkpoint else {})
        if checkpoint is None:  # what may lie there is not this run's
            for name in (LAST, BEST):
                (record.directory / FOLDER / name).unlink(missing_ok=True)
        record.write()
    return path if checkpoint else None


def take_weights(module: Classifier, path: Path) -> None:
    """Gives the module the weights of a checkpoint, and nothing else of it.

    Raises:
        ConfigError: it cannot be read, or is of another model.
    """
    try:
        module.load_state_dict(read_checkpoint(path)["state_dict"])
    except (RuntimeError, TypeError, AttributeError) as error:
        raise ConfigError(f"model: does not fit the weights of {path}: {one_line(error)}") from error


def make_module(config: DictConfig, data: pl.LightningDataModule, device: torch.device) -> Classifier:
    """Loads the data onto the device, and builds the module that is trained on them.

    Raises:
        ConfigError: a value cannot be used, or model and data do not fit.
    """
    schedule = build(config.schedule, "schedule")
    scale = build(config.scale, "scale") if config.get("scale") else None
    for group, thing, kinds in (("schedule", schedule, Schedule | TorchSchedule), ("scale", scale, Scale | None)):
        if not isinstance(thing, kinds):
            raise ConfigError(
                f"{group}: must be one of its choices or a class of that kind, not {type(thing).__name__}"
            )
    if isinstance(data, TensorData):
        with within("data"):
            data.prepare(config.seed, device)
    pl.seed_everything(config.seed, verbose=False)
    model = build(config.model, "model")
    if isinstance(data, TensorData):
        _check_model(model, data)
    return Classifier(model, _optimizer_maker(config.optimizer), schedule, scale, config.on_divergence)


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
    record.epochs, record.rates = module.epochs, module.rates
    if rows := [row for row in module.epochs if math.isfinite(row.get(metric, math.nan))]:
        record.best = (min if better(metric) == "min" else max)(rows, key=lambda row: float(row[metric] or 0))
    assert module.horizon is not None, "fit has configured the optimizer"
    record.total_steps = module.horizon.total_steps
    record.steps_per_epoch = module.horizon.steps_per_epoch
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


def _check_model(model: torch.nn.Module, data: TensorData) -> None:
    """Tries the model on two images: a size that does not match would otherwise show up deep inside torch."""
    images, _ = data.example(2)
    model.eval()  # so that the trial leaves no trace in running statistics or random numbers
    try:
        with torch.no_grad():
            logits = model(images)
    except RuntimeError as error:
        shape = " × ".join(map(str, images.shape[1:]))
        raise ConfigError(f"model: does not take {data.name}'s images, {shape}: {one_line(error)}") from error
    model.train()
    if logits.ndim != 2 or logits.shape[1] < data.classes:
        raise ConfigError(
            f"model: gives {tuple(logits.shape)} for 2 images, but {data.name} has {data.classes} classes"
        )


def _build_trainer(config: DictConfig, record: Record, keeper: RecordKeeper) -> pl.Trainer:
    loggers = [build(node, "logger") for node in (config.logger or {}).values()]
    callbacks = [build(node, "callbacks") for node in (config.callbacks or {}).values()]
    groups = tuple(group for group in ("schedule", "scale", "optimizer", "model", "data") if config.get(group))
    values: dict[str, Any] = {group: record.choices.get(group, "") for group in groups}
    values |= {"data": record.data, "seed": config.seed}
    for group in groups:
        values |= flatten(record.config[group], f"{group}.")
    values = {key: value for key, value in values.items() if not key.endswith("_target_")}
    for group, things, kind in (("logger", loggers, Logger), ("callbacks", callbacks, pl.Callback)):
        for thing in things:
            if not isinstance(thing, kind):
                raise ConfigError(f"{group}: must be classes of that kind, not {type(thing).__name__}")
    for callback in callbacks:
        if isinstance(callback, Checkpoints):
            callback.stop = keeper.stop
    callbacks += [keeper, Hyperparameters(values)]
    own: dict[str, Any] = {"callbacks": callbacks, "logger": loggers, "default_root_dir": str(record.directory)}
    own["plugins"] = [*(config.trainer.get("plugins") or []), AtomicCheckpointIO()]
    if not config.trainer.get("profiler"):
        own["profiler"] = NoProfiler()
    return build(config.trainer, "trainer", **own)


def _optimizer_maker(node: DictConfig) -> Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer]:
    """Parameters to optimizer; partial, because Hydra would turn the parameters into a configuration."""
    make = build(node, "optimizer", _partial_=True)

    def make_optimizer(parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        try:
            return make(parameters)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ConfigError(f"optimizer: {one_line(error)}") from error

    return make_optimizer
