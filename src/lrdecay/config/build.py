"""Builds what a configuration names: once, and each part when it is first asked for.

So a preview needs no torch, and a mistake in the schedule is found before the data are loaded.
"""

import re
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import hydra
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf

from lrdecay.config.messages import one_line
from lrdecay.config.rules import accumulates_by_schedule, check, is_own_module, is_own_optimizer, scheduled_nodes
from lrdecay.data.catalogue import FITTED
from lrdecay.errors import BadValue, ConfigError, within
from lrdecay.metrics import METRICS, Metrics, metrics_of
from lrdecay.records.renames import renamed
from lrdecay.schedules import Scale, Schedule

T = TypeVar("T")

if TYPE_CHECKING:
    import pytorch_lightning as pl
    import torch
    from pytorch_lightning.loggers import Logger

    from lrdecay.adapters.torch import TorchSchedule

    MakeOptimizer = Callable[[torch.nn.Module], torch.optim.Optimizer]


def build(config: DictConfig) -> "Parts":
    """Checks a configuration, and gives the parts that it names.

    Raises:
        ConfigError: a value cannot be used.
    """
    check(config)
    return Parts(config)


class Parts:
    """The parts of a run, as its configuration names them; each raises `ConfigError` for what it refuses."""

    def __init__(self, config: DictConfig) -> None:
        self.config = config

    @cached_property
    def metrics(self) -> Metrics:
        """What the run measures."""
        return metrics_of(self.config)

    @cached_property
    def schedule(self) -> "Schedule | TorchSchedule":
        """The schedule, or a scheduler of torch's in its place."""
        schedule = instantiate(self.config.schedule, "schedule")
        if isinstance(schedule, Schedule):
            return schedule
        from lrdecay.adapters.torch import TorchSchedule  # torch: not for any other

        found = _of_kind(TorchSchedule, schedule, "schedule")
        require_metric("schedule.monitor", found.monitor, self.metrics.monitored)
        return found

    @cached_property
    def scheduled(self) -> dict[str, Schedule]:
        """The schedules of other quantities, by the keys of these."""
        found = scheduled_nodes(self.config)
        made = {key: instantiate(node, f"scheduled.{key}") for key, node in found.items()}
        return {key: _of_kind(Schedule, schedule, f"scheduled.{key}") for key, schedule in made.items()}  # type: ignore[type-abstract]

    @cached_property
    def scale(self) -> Scale | None:
        """The scale on top of it; ``None`` for none."""
        node = self.config.get("scale")
        if not node:
            return None
        declared = None if self.metrics is METRICS else self.metrics.get(str(node.get("metric")))
        own = {"better": declared.better} if declared and node.get("better") is None else {}
        scale: Scale = _of_kind(Scale, instantiate(node, "scale", **own), "scale")  # type: ignore[type-abstract]
        require_metric("scale.metric", scale.metric, self.metrics.followed, "")
        return scale

    @cached_property
    def data(self) -> "pl.LightningDataModule":
        """The data set, not loaded yet."""
        import pytorch_lightning as pl

        return _of_kind(pl.LightningDataModule, instantiate(self.config.data, "data"), "data")

    @cached_property
    def make_optimizer(self) -> "MakeOptimizer | None":
        """Model to optimizer, or ``None`` where somebody's module has its own.

        Partial, because Hydra would turn the parameters into a configuration.
        """
        node = self.config.optimizer
        if is_own_optimizer(self.config):
            return None
        plain: Any = OmegaConf.to_container(node, resolve=True)
        rules = plain.get("groups")
        own = OmegaConf.masked_copy(node, [str(key) for key in node if key != "groups"])
        make = instantiate(own, "optimizer", _partial_=True)

        def make_optimizer(model: "torch.nn.Module") -> "torch.optim.Optimizer":
            from lrdecay.adapters.groups import own_rules, parameter_groups  # torch: not for a preview

            with within("optimizer"):
                try:
                    given = own_rules(model, make) if rules is None else rules
                    optimizer: torch.optim.Optimizer = make(
                        parameter_groups(model, given, make) if given else model.parameters()
                    )
                except BadValue:
                    raise
                except (TypeError, ValueError, RuntimeError) as error:
                    raise ConfigError(f"optimizer: {one_line(error)}") from error
            return optimizer

        return make_optimizer

    @cached_property
    def loggers(self) -> "list[Logger]":
        """Those of the configuration that are not null."""
        from pytorch_lightning.loggers import Logger

        return list(self._several("logger", Logger).values())

    @cached_property
    def callbacks(self) -> "dict[str, pl.Callback]":
        """Those of the configuration that are not null, by name."""
        import pytorch_lightning as pl

        return self._several("callbacks", pl.Callback)

    def model(self) -> "torch.nn.Module":
        """The network, with the data's sizes where it has null, and without those that are not known."""
        import torch

        node, sizes = self.config.model, getattr(self.data, "model_sizes", {})
        sizes = {"num_classes": sizes.get("classes"), **sizes}
        fitted = {name: sizes.get(name) for name in FITTED if name in node and node[name] is None}
        kept = OmegaConf.masked_copy(node, [str(key) for key in node if key not in fitted])
        known = {name: size for name, size in fitted.items() if size is not None}
        return _of_kind(torch.nn.Module, instantiate(kept, "model", **known), "model")

    def module(self) -> "pl.LightningModule | None":
        """Somebody's own module, with our network where its configuration says ``model: ${model}``; else ``None``."""
        import pytorch_lightning as pl

        if not is_own_module(self.config):
            return None
        node = self.config.module
        ours = "model" in node and node.model is not None and node.model == self.config.model
        module = instantiate(node, "module", **({"model": self.model()} if ours else {}))
        if any(kind.__module__.startswith("lightning.pytorch.") for kind in type(module).__mro__):
            name = type(module).__name__
            raise ConfigError(
                f"module: {name} must be a pytorch_lightning.LightningModule, and is one of lightning.pytorch"
            )
        return _of_kind(pl.LightningModule, module, "module")

    def trainer(self, **arguments: Any) -> "pl.Trainer":
        """Lightning's trainer, with arguments that are the run's own."""
        import pytorch_lightning as pl

        if accumulates_by_schedule(self.config):  # which is the course's then
            arguments["accumulate_grad_batches"] = 1
        return _of_kind(pl.Trainer, instantiate(self.config.trainer, "trainer", **arguments), "trainer")

    def _several(self, group: str, kind: type) -> dict[str, Any]:
        nodes = {str(name): node for name, node in (self.config.get(group) or {}).items() if node is not None}
        things = {name: instantiate(node, group) for name, node in nodes.items()}
        for thing in things.values():
            if not isinstance(thing, kind):
                raise ConfigError(f"{group}: must be of type {kind.__name__}, not {type(thing).__name__}")
        return things


def instantiate(node: DictConfig, group: str, **arguments: Any) -> Any:
    """Builds the ``_target_`` of a configuration group, under its present name.

    Raises:
        ConfigError: what it refuses.
    """
    if "_target_" in node and (target := renamed(node._target_)) != node._target_:
        node = OmegaConf.merge(node, {"_target_": target})  # type: ignore[assignment]
    try:
        # Plain lists, not Hydra's: an optimizer's go into checkpoints, which must load without executing anything.
        return hydra.utils.instantiate(node, _convert_="all", **arguments)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, ConfigError):
            raise cause from error
        if isinstance(cause, BadValue):
            key = re.search(r"^full_key: (\S+)$", str(error), re.MULTILINE)
            raise ConfigError(f"{key[1] if key else group}.{cause}") from error
        raise ConfigError(f"{group}: {one_line(cause or error)}") from error


def require_metric(key: str, name: str | None, among: Sequence[str], otherwise: str = ", or null") -> None:
    """Raises `ConfigError` for a metric that is not measured, and so could not be followed."""
    if name is not None and name not in among:
        raise ConfigError(f"{key}={name}: must be one of {', '.join(among)}{otherwise}")


def _of_kind(kind: type[T], thing: Any, group: str) -> T:
    if not isinstance(thing, kind):
        given = type(thing).__name__
        raise ConfigError(f"{group}: must be one of its choices, or of type {kind.__name__}, not {given}")
    return thing
