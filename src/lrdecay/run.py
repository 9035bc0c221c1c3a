"""One run: ``prepare`` builds it from a configuration, ``fit`` trains it, ``finish`` tests and records it."""

import gc
import logging
import math
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, read_write
from pytorch_lightning.callbacks import LambdaCallback
from pytorch_lightning.profilers import PassThroughProfiler
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from lrdecay import console
from lrdecay.adapter import TorchSchedule
from lrdecay.callbacks import Hyperparameters, RecordKeeper
from lrdecay.configuration import build, check
from lrdecay.data import TensorData
from lrdecay.errors import ConfigError, DivergedError, within
from lrdecay.messages import one_line
from lrdecay.models import parameter_count
from lrdecay.module import Classifier
from lrdecay.placement import Schedule
from lrdecay.process import prepare_process
from lrdecay.record import Record, Status, flatten, write_atomically
from lrdecay.scales import Scale

log = logging.getLogger(__name__)

DDP_ENVIRONMENT = ("LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "OMP_NUM_THREADS", "WORLD_SIZE")

# Lightning's warnings about what is meant to be as it is here.
for expected in (
    "Experiment logs directory",  # Hydra has made the run's folder already
    r"The number of training batches \(",  # the last batch of an epoch is logged, whatever log_every_n_steps
    "It is recommended to use .*sync_dist",  # the module reduces over processes itself
    ".*LeafSpec",  # Lightning's own use of torch
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


def run(config: DictConfig) -> float:
    """Runs what Hydra has composed, in the output folder that Hydra made.

    Returns:
        The final value of ``config.metric``, for sweepers that optimize it.
    """
    job = HydraConfig.get()
    alone = job.mode == RunMode.RUN
    choices = {key: str(value) for key, value in job.runtime.choices.items() if "/" not in key}
    unresolved: Any = OmegaConf.to_container(config, resolve=False)
    overrides: Any = OmegaConf.to_container(job.overrides.task, resolve=False)
    record = Record.start(Path(job.runtime.output_dir), unresolved, choices, overrides)
    with _outcome_recorded(record), _job_of_many(job):
        this = prepare(config, record)
        speak = alone and this.trainer.is_global_zero
        if speak:
            text = console.summary(config, record, this.trainer)
            # Said when the schedule has been fitted to the run, so that an error stands alone.
            this.trainer.callbacks.append(  # type: ignore[attr-defined]
                LambdaCallback(on_train_start=lambda *_: console.say(text))
            )
        fit(this)
        value = finish(this)
        if speak:
            console.say(
                f"[bold]{record.data}[/]: {console.result(record)} · {console.format_seconds(record.seconds or 0)} "
                f"→ {console.relative(record.directory)}"
            )
    return value


def prepare(config: DictConfig, record: Record) -> Run:
    """Builds everything that the configuration names, and loads the data.

    Raises:
        ConfigError: a value cannot be used; nothing has been trained.
    """
    plain: Any = OmegaConf.to_container(config, resolve=True)
    record.config = plain
    check(config)
    record.process = prepare_process(config.process.tune, config.process.threads)
    data: pl.LightningDataModule = build(config.data, "data")
    record.data = data.name or type(data).__name__
    trainer = _build_trainer(config, record)
    if trainer.is_global_zero:
        record.write()
    module = make_module(config, data, trainer.strategy.root_device)
    if isinstance(data, TensorData):
        record.sizes = data.sizes
    record.parameters = parameter_count(module)
    record.device = str(trainer.strategy.root_device)
    record.threads = torch.get_num_threads()
    return Run(config, record, data, module, trainer)


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
    return Classifier(model, _optimizer_maker(config.optimizer), schedule, scale)


def fit(run: Run) -> None:
    """Trains and validates."""
    run.trainer.fit(run.module, datamodule=run.data)


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
    if rows := [row for row in module.epochs if metric in row]:
        best = min if metric.endswith("loss") else max
        record.best = best(rows, key=lambda row: row[metric])
    assert module.horizon is not None, "fit has configured the optimizer"
    record.total_steps = module.horizon.total_steps
    record.steps_per_epoch = module.horizon.steps_per_epoch
    record.rates = module.rates
    if trainer.is_global_zero:
        from lrdecay.figures import rate_figure  # matplotlib: not before the training

        figure = rate_figure(record.rates, record.steps_per_epoch, console.named_schedule(record.choices))
        write_atomically(record.directory / "lr.png", figure)
        record.status = "completed"
        record.write()
    return record.final.get(metric, math.nan)


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


def _build_trainer(config: DictConfig, record: Record) -> pl.Trainer:
    loggers = [build(node, "logger") for node in (config.logger or {}).values()]
    callbacks = [build(node, "callbacks") for node in (config.callbacks or {}).values()]
    groups = tuple(group for group in ("schedule", "scale", "optimizer", "model", "data") if config.get(group))
    values: dict[str, Any] = {group: record.choices.get(group, "") for group in groups}
    values |= {"data": record.data, "seed": config.seed}
    for group in groups:
        values |= flatten(record.config[group], f"{group}.")
    values = {key: value for key, value in values.items() if not key.endswith("_target_")}
    callbacks += [RecordKeeper(record), Hyperparameters(values)]
    own: dict[str, Any] = {"callbacks": callbacks, "logger": loggers, "default_root_dir": str(record.directory)}
    if not config.trainer.get("profiler"):
        own["profiler"] = NoProfiler()
    return build(config.trainer, "trainer", **own)


class NoProfiler(PassThroughProfiler):
    """Lightning's default makes a context manager for each of some fifty calls at every step, to measure nothing."""

    _nothing = nullcontext()

    def profile(self, action_name: str) -> Any:
        return self._nothing


def _optimizer_maker(node: DictConfig) -> Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer]:
    """Parameters to optimizer; partial, because Hydra would turn the parameters into a configuration."""
    make = build(node, "optimizer", _partial_=True)

    def make_optimizer(parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        try:
            return make(parameters)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ConfigError(f"optimizer: {one_line(error)}") from error

    return make_optimizer


@contextmanager
def _outcome_recorded(record: Record) -> Iterator[None]:
    """Leaves how the run ended in the record and the traceback in the log, and raises again."""
    try:
        yield
    except BaseException as error:
        if getattr(rank_zero_only, "rank", 0) > 0 and isinstance(error, ConfigError | DivergedError):
            # All processes of a distributed run meet it, and the first one reports it. Any other status would make
            # Lightning kill that one.
            raise SystemExit(0) from error
        record.status = _status(error)
        record.error = "interrupted" if record.status == "interrupted" else one_line(error)
        record.traceback = traceback.format_exc()
        log.info("%s: %s", record.status, record.error, exc_info=True)
        if getattr(rank_zero_only, "rank", 0) == 0 and record.directory.is_dir():
            record.write()
        if record.status == "interrupted":
            print(f"interrupted → {console.relative(record.directory)}", file=sys.stderr)
            # Lightning ends Ctrl-C with status 1; a shell expects 128 + SIGINT.
            raise SystemExit(130) from error
        raise


def _status(error: BaseException) -> Status:
    if isinstance(error, DivergedError):
        return "diverged"
    return "failed" if isinstance(error, Exception) else "interrupted"


@contextmanager
def _job_of_many(job: Any) -> Iterator[None]:
    """Keeps what libraries do to the process within this job of a sweep.

    Lightning starts the other processes of ``ddp`` with this one's ``sys.argv`` and ``hydra.run.dir``: in a sweep that
    would be the whole sweep, so they get the job's. It leaves behind environment variables that say the processes
    are started, a process group, and fewer threads; wandb leaves its run open. All would reach into the next job.
    """
    if job.mode == RunMode.RUN:
        yield
        return
    argv, threads = sys.argv, torch.get_num_threads()
    environment = {name: os.environ.get(name) for name in DDP_ENVIRONMENT}
    task = cast(list, OmegaConf.to_container(job.overrides.task, resolve=False))
    of_the_sweep = ("hydra.mode", "hydra.sweep", "hydra.launcher", "hydra.job.config")
    sys.argv = [argv[0], *_flags(argv[1:]), *task]
    sys.argv += [override for override in job.overrides.hydra if not override.startswith(of_the_sweep)]
    with read_write(job):
        job.run.dir = job.runtime.output_dir
    try:
        yield
    finally:
        sys.argv = argv
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        torch.set_num_threads(threads)
        gc.collect()  # Trainer and module refer to each other, and would wait with all their weights to be found
        if wandb := sys.modules.get("wandb"):
            wandb.finish()


def _flags(arguments: list[str]) -> list[str]:
    """Hydra's flags, such as ``--config-dir conf``, among a sweep's arguments; ``-m`` is left out."""
    flags = []
    words = iter(arguments)
    for word in words:
        if word.startswith("-") and word not in ("-m", "--multirun"):
            flags += [word] if "=" in word else [word, next(words)]
    return flags
