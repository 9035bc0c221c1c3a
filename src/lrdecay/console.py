"""What a run says on the terminal: short lines, the same words everywhere."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from rich import get_console
from rich.markup import escape

from lrdecay.errors import ConfigError
from lrdecay.record import Record

if TYPE_CHECKING:
    import pytorch_lightning as pl
    from omegaconf import DictConfig


def say(text: str) -> None:
    """Prints to stdout, with rich's markup but without folding long lines."""
    get_console().print(text, highlight=False, soft_wrap=True)


def format_metric(key: str, value: float | None) -> str:
    """A metric as people read it: accuracies in percent, losses to four digits."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{100 * value:.2f}%" if key.endswith("acc") else f"{value:.4f}"


def plural(count: int | None, noun: str) -> str:
    """``1 run``, ``12,000 runs``."""
    return f"{count:,} {noun}{'s' if count != 1 else ''}"


def format_seconds(seconds: float) -> str:
    """``0:41`` or ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def relative(path: Path) -> str:
    """The path from the working directory of the command where it lies below it."""
    # hydra.job.chdir changes that of a job, not that of the shell.
    started = Path(HydraConfig.get().runtime.cwd) if HydraConfig.initialized() else Path.cwd()
    path = path.absolute()
    return os.path.relpath(path, started) if path.is_relative_to(started) else str(path)


def result(record: Record) -> str:
    """What a completed run came to."""
    keys = ("test/acc", "val/acc", "val/loss")
    return " · ".join(f"{key} {format_metric(key, record.final.get(key))}" for key in keys)


def ended(record: Record) -> str:
    """What a completed run came to, where and in which time."""
    seconds = format_seconds(record.seconds)
    cut_short = f" · [bold]{escape(record.cut_short)}[/]" if record.cut_short else ""
    folder = escape(relative(record.directory))
    return f"[bold]{escape(str(record.data))}[/]: {result(record)}{cut_short} · {seconds} → {folder}"


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
    """What will be trained, in three lines."""
    choices = record.choices
    sizes = " / ".join(f"{count:,}" for count in record.sizes.values())
    images = f", {sizes} images to train / validate / test" if sizes else ""
    batch = f", batch {config.data.batch_size}" if "batch_size" in config.data else ""
    schedule = named_schedule(choices)
    rate = f" lr {config.optimizer.lr:g}" if "lr" in config.optimizer else ""
    steps, per_epoch = record.total_steps or 0, record.steps_per_epoch or 1
    whole = steps % per_epoch == 0
    length = plural(steps // per_epoch, "epoch") if whole else plural(steps, "step")
    processes = f" × {trainer.world_size} processes" if trainer.world_size > 1 else ""
    return (
        f"[bold]{escape(schedule)}[/] · {escape(str(choices.get('optimizer')))}{rate} · "
        f"{escape(str(choices.get('model')))}, {record.parameters:,} parameters\n"
        f"{record.data}{images}{batch}, {length}\n"
        f"{record.device}{processes}, {trainer.precision}, {plural(record.threads, 'thread')}, seed {config.seed}"
    )
