"""The functions that a configuration calls while it is resolved, but for those that name folders."""

import inspect
import re
from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.resolvers import oc

from lrdecay import machine
from lrdecay.commands import as_called
from lrdecay.config import hydra_internals
from lrdecay.errors import require, within
from lrdecay.metrics import metrics_of


def better(metric: str, *, _root_: DictConfig) -> str:
    """Which values of a metric are better: ``min`` or ``max``."""
    metrics = metrics_of(_root_)
    return "max" if metric in metrics and metrics[metric].better == "higher" else "min"


REQUIRED_VARIABLE = object()


TEXTS = ("name", "output_dir", "root", "resume", "project", "experiment_name", "tracking_uri")
"""Keys whose values are text, whatever it looks like."""


NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d{1,3})?")


def env(name: str, default: Any = REQUIRED_VARIABLE, *, _node_: Any) -> Any:
    """``${oc.env:NAME}``: an environment variable, where it is the whole value and written as a number, as that number.

    OmegaConf's is text, which no key takes that needs a number: ``seed=${oc.env:SLURM_ARRAY_TASK_ID}``.
    """
    value: Any = oc.env(name) if default is REQUIRED_VARIABLE else oc.env(name, default)
    whole = re.fullmatch(r"\$\{oc\.env:[^${}]*\}", hydra_internals.text_of(_node_)) is not None
    if not (
        whole and hydra_internals.key_of(_node_) not in TEXTS and isinstance(value, str) and NUMBER.fullmatch(value)
    ):
        return value
    return int(value) if value.lstrip("-").isdigit() else float(value)


def points_of(path: str | None, *, _node_: Any) -> list[list[float]] | None:
    """``${points_of:file}``: the points of a table, which so are part of the run's configuration; none without a file.

    Raises:
        ConfigError: the file is not one of points.
    """
    from lrdecay.schedules.free import read_points  # numpy: not at every start

    with within(hydra_internals.parent_of(_node_)):
        require(path is None or isinstance(path, str), "csv", path, "the path of a file, or null")
        return None if path is None else read_points(path)


SINGLE = ("None", "32", "32-true")
"""Values of ``trainer.precision`` that are float32."""


def faster_dense(*, _root_: DictConfig) -> str:
    """What computes dense layers faster on this machine in a run under this configuration: ``torch`` or ``onednn``.

    It follows from the processor, not from a timing, so it is the same at every run.
    """
    trainer: Any = _root_.get("trainer") or {}
    accelerator, precision = trainer.get("accelerator", "auto"), str(trainer.get("precision"))
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not machine.visible_gpus())
    return "onednn" if on_cpu and precision in SINGLE and machine.multiplies_faster_by_onednn() else "torch"


def register(name: str, resolver: Callable[..., Any]) -> None:
    """Lets a configuration call it as ``${name:…}``, in place of what had that name."""
    # OmegaConf 2.4 has a shorter name for it, under which 2.3 had something else.
    renamed = "replace" in inspect.signature(OmegaConf.register_resolver).parameters
    registers: Any = OmegaConf.register_resolver if renamed else OmegaConf.register_new_resolver
    registers(name, resolver, replace=True)


def register_resolvers() -> None:
    """What a configuration may call."""
    register("faster_dense", faster_dense)
    register("oc.env", env)
    register("better", better)
    register("as_called", as_called)
    register("points_of", points_of)
