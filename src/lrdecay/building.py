"""The parts of a run, built from its configuration: data, network, optimizer, schedule, trainer."""

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger

from lrdecay.adapter import TorchSchedule
from lrdecay.callbacks import Hyperparameters, RecordKeeper
from lrdecay.catalogue import SIZES
from lrdecay.checkpoints import AtomicCheckpointIO, Checkpoints, read_checkpoint
from lrdecay.configuration import build
from lrdecay.conflicts import refuse_conflicts
from lrdecay.data import TensorData
from lrdecay.errors import ConfigError, within
from lrdecay.identity import flatten
from lrdecay.lean import NoProfiler
from lrdecay.messages import one_line
from lrdecay.module import Classifier
from lrdecay.placement import Schedule
from lrdecay.record import Record
from lrdecay.scales import Scale

# Lightning's warnings about what is meant to be as it is here.
for expected in (
    r"The number of training batches \(",  # the last batch of an epoch is logged, whatever log_every_n_steps
    "It is recommended to use .*sync_dist",  # the module reduces over processes itself
    ".*LeafSpec",  # Lightning's own use of torch
    r"""Be aware that when using `ckpt_path`.*\['(Timer|EarlyStopping)""",  # an extension may lift them
    "You're resuming from a checkpoint that ended before",  # lrdecay.loaders sees to it, or says that it cannot
):
    warnings.filterwarnings("ignore", message=expected)


def build_as(kind: Any, node: DictConfig, group: str, **arguments: Any) -> Any:
    """Instantiates a configuration group.

    Raises:
        ConfigError: what it refuses, or what is built is not of that kind.
    """
    thing = build(node, group, **arguments)
    if not isinstance(thing, kind):
        raise ConfigError(f"{group}: must be one of its choices or a class of that kind, not {type(thing).__name__}")
    return thing


def make_data(config: DictConfig) -> pl.LightningDataModule:
    """The data set, not loaded yet.

    Raises:
        ConfigError: a value cannot be used.
    """
    data: pl.LightningDataModule = build_as(pl.LightningDataModule, config.data, "data")
    return data


def data_set_name(data: pl.LightningDataModule) -> str:
    """The name by which records tell data sets apart."""
    return getattr(data, "name", None) or type(data).__name__


def take_weights(module: Classifier, path: Path) -> None:
    """Gives the module the weights of a checkpoint, and nothing else of it.

    Raises:
        ConfigError: it cannot be read, or is of another model.
    """
    try:
        module.load_state_dict(read_checkpoint(path)["state_dict"])
    except (RuntimeError, TypeError, AttributeError) as error:
        raise ConfigError(f"model: does not fit the weights of {path}: {one_line(error)}") from error


def make_module(
    config: DictConfig, data: pl.LightningDataModule, device: torch.device, monitor: str | None = None
) -> Classifier:
    """Loads the data onto the device, and builds the module that is trained on them.

    Args:
        monitor: the metric of the best measurement; by default ``config.metric``.

    Raises:
        ConfigError: a value cannot be used, or model and data do not fit.
    """
    schedule = build_as(Schedule | TorchSchedule, config.schedule, "schedule")
    scale = build_as(Scale, config.scale, "scale") if config.get("scale") else None
    if isinstance(data, TensorData):
        with within("data"):
            data.prepare(config.seed, device)
    pl.seed_everything(config.seed, verbose=False)
    model = build_as(torch.nn.Module, _fitted(config.model, data), "model")
    if isinstance(data, TensorData):
        _check_model(model, data)
    return Classifier(
        model, _optimizer_maker(config.optimizer), schedule, scale, config.on_divergence, monitor or config.metric
    )


def _fitted(node: DictConfig, data: pl.LightningDataModule) -> DictConfig:
    """A model's configuration with the data's sizes where it has null, and without those that are not known."""
    sizes = getattr(data, "model_sizes", {})
    fitted = {name: sizes.get(name) for name in SIZES if name in node and node[name] is None}
    kept = OmegaConf.masked_copy(node, [str(key) for key in node if key not in fitted])
    return OmegaConf.merge(kept, {name: size for name, size in fitted.items() if size is not None})  # type: ignore


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


def make_trainer(config: DictConfig, record: Record, keeper: RecordKeeper) -> pl.Trainer:
    """The trainer with its loggers and callbacks.

    Raises:
        ConfigError: a value cannot be used, or a callback would work against the schedule.
    """
    loggers = [build(node, "logger") for node in (config.get("logger") or {}).values() if node is not None]
    named = {
        str(name): build(node, "callbacks")
        for name, node in (config.get("callbacks") or {}).items()
        if node is not None
    }
    refuse_conflicts(named)
    callbacks = list(named.values())
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
    if config.trainer.get("enable_checkpointing") is False:
        callbacks = [callback for callback in callbacks if not isinstance(callback, Checkpoints)]
    for callback in callbacks:
        if isinstance(callback, Checkpoints):
            callback.stop = keeper.stop
    callbacks += [keeper, Hyperparameters(values)]
    own: dict[str, Any] = {"callbacks": callbacks, "logger": loggers, "default_root_dir": str(record.directory)}
    own["enable_checkpointing"] = None  # Lightning would refuse false, the keeper of the record being of that kind
    plugins = config.trainer.get("plugins") or []
    own["plugins"] = [*([plugins] if isinstance(plugins, DictConfig) else plugins), AtomicCheckpointIO()]
    if not config.trainer.get("profiler"):
        own["profiler"] = NoProfiler()
    trainer: pl.Trainer = build_as(pl.Trainer, config.trainer, "trainer", **own)
    return trainer


def _optimizer_maker(node: DictConfig) -> Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer]:
    """Parameters to optimizer; partial, because Hydra would turn the parameters into a configuration."""
    make = build(node, "optimizer", _partial_=True)

    def make_optimizer(parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        try:
            return make(parameters)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ConfigError(f"optimizer: {one_line(error)}") from error

    return make_optimizer
