"""The parts of a run put together: the module on its data, and the trainer with its loggers and callbacks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback, Checkpoint

from lrdecay.config.build import Parts, require_metric
from lrdecay.config.messages import one_line
from lrdecay.data.tensors import TensorData
from lrdecay.errors import ConfigError, within
from lrdecay.records.identity import flatten
from lrdecay.records.record import Plan
from lrdecay.schedules import Length
from lrdecay.training import internals
from lrdecay.training.accumulation import Accumulation
from lrdecay.training.callbacks import Hyperparameters
from lrdecay.training.checkpoints import AtomicCheckpointIO, Checkpoints, read_checkpoint
from lrdecay.training.conflicts import refuse_conflicts
from lrdecay.training.course import Course
from lrdecay.training.dense import compute_dense_layers
from lrdecay.training.module import Classifier, ScheduledModule
from lrdecay.training.own import LoggedJournal, adopt
from lrdecay.training.profilers import NoProfiler


def data_set_name(data: pl.LightningDataModule) -> str:
    """The name by which records tell data sets apart."""
    return getattr(data, "name", None) or type(data).__name__


def make_module(parts: Parts, device: torch.device, length: Length | None = None) -> ScheduledModule:
    """Loads the data onto the device, and builds the module that is trained on them, for a run of that length.

    Raises:
        ConfigError: a value cannot be used, or model and data do not fit.
    """
    config, data = parts.config, parts.data
    # Before the data: a mistake in them is found at once.
    schedule, scale, scheduled = parts.schedule, parts.scale, parts.scheduled
    if isinstance(data, TensorData):
        with within("data"):
            data.prepare(config.seed, device)
    internals.keep_hyperparameters_from_loggers(data)
    pl.seed_everything(config.seed, verbose=False)
    course = (schedule, parts.make_optimizer, scale, length, scheduled)
    if (own := parts.module()) is not None:
        journal = LoggedJournal(_monitor(parts), config.on_divergence, parts.metrics)
        module = adopt(own, Course(*course, journal))
    else:
        model = parts.model()
        if isinstance(data, TensorData):
            _check_model(model, data)
        module = Classifier(model, *course, _monitor(parts), config.on_divergence, config.get("label_smoothing", 0.0))
    module.course.accumulation = Accumulation(config.trainer.get("accumulate_grad_batches", 1))
    compute_dense_layers(module, config.process.get("dense") or "torch", device, config.trainer.get("precision"))
    return module


def _monitor(parts: Parts) -> str:
    """The metric of the best measurement, which is also that of ``best.ckpt``."""
    own = [callback.monitor for callback in parts.callbacks.values() if isinstance(callback, Checkpoints)]
    return next(filter(None, own), None) or str(parts.config.metric)


def take_weights(module: ScheduledModule, path: Path) -> None:
    """Loads the weights of a checkpoint into the module, and nothing else; into somebody's own when it has its layers.

    Raises:
        ConfigError: it cannot be read, or is of another model.
    """
    weights = read_checkpoint(path)["state_dict"]
    if not isinstance(module, Classifier):
        module.course.weights = weights
        return
    try:
        module.load_state_dict(weights)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise ConfigError(f"model: does not fit the weights of {path}: {one_line(error)}") from error


def make_trainer(parts: Parts, plan: Plan, directory: Path, keeper: Callback) -> pl.Trainer:
    """The trainer with its loggers and callbacks.

    Raises:
        ConfigError: a value cannot be used, or a callback would work against the schedule.
    """
    refuse_conflicts(parts.callbacks)
    for name, callback in parts.callbacks.items():
        if isinstance(callback, Checkpoints):
            require_metric(f"callbacks.{name}.monitor", callback.monitor, parts.metrics.monitored)
    settings = parts.config.trainer
    callbacks = list(parts.callbacks.values())
    if settings.get("enable_checkpointing") is False:
        callbacks = [callback for callback in callbacks if not isinstance(callback, Checkpoint)]
    own: dict[str, Any] = {"logger": parts.loggers, "default_root_dir": str(directory)}
    own["callbacks"] = [*callbacks, keeper, Hyperparameters(_hyperparameters(parts.config, plan))]
    # Where there is none, Lightning would add one of its own.
    own["enable_checkpointing"] = any(isinstance(callback, Checkpoint) for callback in callbacks)
    plugins = settings.get("plugins") or []
    own["plugins"] = [*([plugins] if isinstance(plugins, DictConfig) else plugins), AtomicCheckpointIO()]
    if not settings.get("profiler"):
        own["profiler"] = NoProfiler()
    return parts.trainer(**own)


def _hyperparameters(config: DictConfig, plan: Plan) -> dict[str, Any]:
    """What loggers are told of a run: choices, the data set, and every value of the groups, by key."""
    groups = [group for group in ("schedule", "scale", "optimizer", "module", "model", "data") if config.get(group)]
    values: dict[str, Any] = {group: plan.choices.get(group, "") for group in groups}
    values |= {"data": plan.data, "seed": config.seed}
    values |= {key: plan.config[key] for key in ("duration", "ssr", "label_smoothing") if key in plan.config}
    for group in [*groups, "scheduled"]:
        node = plan.config.get(group)
        values |= flatten(node, f"{group}.") if isinstance(node, Mapping) else {}
    return {key: value for key, value in values.items() if not key.endswith("_target_")}


def _check_model(model: torch.nn.Module, data: TensorData) -> None:
    """Tries the model on two examples: a size that does not match would otherwise show up deep inside torch."""
    inputs, labels = data.example(2)
    model.eval()  # so that the trial leaves no trace in running statistics or random numbers
    try:
        with torch.no_grad():
            logits = model(inputs)
    except (RuntimeError, IndexError) as error:
        shape = " × ".join(map(str, inputs.shape[1:]))
        raise ConfigError(f"model: does not take {data.name}'s {data.items}, {shape}: {one_line(error)}") from error
    model.train()
    if logits.shape[:-1] != labels.shape or logits.shape[-1] < data.classes:
        raise ConfigError(
            f"model: gives {tuple(logits.shape)} for 2 {data.items}, but {data.name} has {data.classes} classes"
        )
