"""What a run says on the terminal: short lines, the same words everywhere."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from rich import get_console
from rich.console import Console
from rich.markup import escape

from lrdecay import machine
from lrdecay.adapters.rules import ratios
from lrdecay.commands import in_checkout
from lrdecay.data.catalogue import TEXTS
from lrdecay.errors import ConfigError
from lrdecay.metrics import METRICS
from lrdecay.records.record import Plan, Record
from lrdecay.text import format_seconds, plural

if TYPE_CHECKING:
    import pytorch_lightning as pl
    from omegaconf import DictConfig


def say(text: str) -> None:
    """Prints to stdout, with rich's markup but without folding long lines."""
    get_console().print(text, highlight=False, soft_wrap=True)


def wide() -> Console:
    """A console for tables: a file has no width, and rich would take 80."""
    console = get_console()
    return console if console.is_terminal else Console(width=120)


def relative(path: Path) -> str:
    """The path relative to the command's working directory if it is below that, else as it is."""
    # hydra.job.chdir changes that of a job, not that of the shell.
    started = Path(HydraConfig.get().runtime.cwd) if HydraConfig.initialized() else Path.cwd()
    path = path.absolute()
    return os.path.relpath(path, started) if path.is_relative_to(started) else str(path)


MOST = 4
"""Metrics that the end of a run tells."""


def result(record: Record) -> str:
    """The result of a completed run."""
    final, metrics = record.outcome.final, record.metrics
    text = metrics is METRICS and str(record.plan.config.get("data", {}).get("_target_")) in TEXTS
    keys = ("test/loss", "val/loss", "val/acc") if text else (*metrics.of_split("test")[:1], *metrics.monitored)[:MOST]
    told = " · ".join(f"{key} {metrics[key].text(final.get(key))}" for key in keys)
    loss = final.get("test/loss") if text else None
    return told if loss is None else f"{told} · {loss / math.log(2):.3f} bits per character"


def ended(record: Record) -> str:
    """The result of a completed run, its folder, and how long it took."""
    seconds = format_seconds(record.progress.seconds)
    cut_short = f" · [bold]{escape(record.cut_short)}[/]" if record.cut_short else ""
    folder = escape(relative(record.directory))
    return f"[bold]{escape(str(record.plan.data))}[/]: {escape(result(record))}{cut_short} · {seconds} → {folder}"


def named_schedule(choices: Mapping[str, str]) -> str:
    """``cosine``, or ``cosine × plateau``; the schedule of that name is its scale already."""
    schedule, scale = choices.get("schedule", ""), choices.get("scale", "none")
    return schedule if scale in ("none", schedule) else f"{schedule} × {scale}"


def figure_path(path: Path) -> Path:
    """The path of a figure to be written, its folder made.

    Raises:
        ConfigError: it is a folder, or does not end in ``.png``.
    """
    if path.suffix != ".png" or path.is_dir():
        raise ConfigError(f"--output={path}: must be a file that ends in .png")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def summary(config: "DictConfig", record: Record, trainer: "pl.Trainer") -> str:
    """What will be trained, in three lines, and a fourth where another precision would be faster."""
    plan = record.plan
    sizes = " / ".join(f"{count:,}" for count in plan.sizes.values())
    items = getattr(trainer.datamodule, "items", "images")  # type: ignore[attr-defined]
    split = f", {sizes} {items} to train / validate / test" if sizes else ""
    batch = f", batch {config.data.batch_size}" if "batch_size" in config.data else ""
    schedule = named_schedule(plan.choices)
    rate = f" lr {config.optimizer.lr:g}" if "lr" in config.optimizer else ""
    rate += "".join(f", {name} ×{ratio:g}" for name, ratio in ratios(config.optimizer.get("groups")).items())
    steps, per_epoch = plan.total_steps or 0, plan.steps_per_epoch or 1
    whole = steps % per_epoch == 0
    length = plural(steps // per_epoch, "epoch") if whole else plural(steps, "step")
    if plan.seconds_per_step is not None:
        length += f", measured at {plan.seconds_per_step:.3g} s a step"
    processes = f" × {trainer.world_size} processes" if trainer.world_size > 1 else ""
    hint = f"\n{_faster_in_bf16()}" if _gains_from_bf16(plan, str(trainer.precision)) else ""
    return (
        f"[bold]{escape(schedule)}[/] · {escape(str(plan.choices.get('optimizer')))}{rate} · "
        f"{escape(_network(plan))}, {plan.parameters:,} parameters\n"
        f"{plan.data}{split}{batch}, {length}\n"
        f"{plan.device}{processes}, {trainer.precision}, {plural(plan.threads, 'thread')}, seed {config.seed}{hint}"
    )


def _network(plan: Plan) -> str:
    """What is trained: the choice of a model, or somebody's module."""
    target = (plan.config.get("module") or {}).get("_target_")
    return str(plan.choices.get("model")) if target is None else str(target).rpartition(".")[2]


def _faster_in_bf16() -> str:
    text = "this processor multiplies bfloat16 in units of its own, so trainer.precision=bf16-mixed may be faster"
    return f"{text}; python scripts/benchmark.py training measures it" if in_checkout() else text


LARGE = 2**19
"""Parameters with which products take most of a step."""


def _gains_from_bf16(plan: Plan, precision: str) -> bool:
    on_cpu = str(plan.device) == "cpu" and precision == "32-true"
    return on_cpu and (plan.parameters or 0) >= LARGE and machine.has_bf16_units()
