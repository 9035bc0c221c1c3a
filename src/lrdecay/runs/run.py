"""One run: ``prepare`` builds it from a configuration, ``fit`` trains it, ``finish`` tests and records it."""

import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from lrdecay.adapters.rules import ratios
from lrdecay.commands import training_argv
from lrdecay.config.build import build
from lrdecay.config.horizon import length_of
from lrdecay.config.overrides import names
from lrdecay.data.catalogue import resampled
from lrdecay.data.tensors import TensorData
from lrdecay.errors import ConfigError, DivergedError
from lrdecay.files import write_atomically
from lrdecay.records.items import Items, write_items
from lrdecay.records.locks import locked
from lrdecay.records.record import Record, plan
from lrdecay.records.recorder import Recorder
from lrdecay.reports import console
from lrdecay.runs.assembly import data_set_name, make_module, make_trainer, take_weights
from lrdecay.runs.attempts import Attempt, find_attempt, said_before
from lrdecay.runs.jobs import job_of_many, outcome_recorded
from lrdecay.runs.pace import needs_pace, pace
from lrdecay.runs.resume import require_longer, trained_configuration
from lrdecay.training.callbacks import RecordKeeper
from lrdecay.training.checkpoints import FOLDER, LAST
from lrdecay.training.ending import ended_by
from lrdecay.training.models import parameter_count
from lrdecay.training.module import Classifier, ScheduledModule, is_tested
from lrdecay.training.process import prepare_process
from lrdecay.training.pruning import Pruning
from lrdecay.training.stopping import Stop
from lrdecay.training.warnings import without_expected_warnings


@dataclass
class Run:
    """A run that is ready to be trained; ``checkpoint`` is where it continues, if it was begun before."""

    config: DictConfig
    recorder: Recorder
    data: pl.LightningDataModule
    module: ScheduledModule
    trainer: pl.Trainer
    stop: Stop
    checkpoint: Path | None


def run(config: DictConfig) -> float:
    """Runs what Hydra has composed, in the output folder that Hydra made.

    Returns:
        The final value of ``config.metric``, for sweepers that optimize it.
    """
    job = HydraConfig.get()
    # Relative to where the command was given, even if hydra.job.chdir has changed the working directory since.
    _make_absolute(config, Path(job.runtime.cwd))
    alone = job.mode == RunMode.RUN
    overrides: Any = OmegaConf.to_container(job.overrides.task, resolve=False)
    directory, stop = Path(job.runtime.output_dir), Stop()
    extends = config.resume_mode == "extend"
    config, choices = trained_configuration(config, names(config, job.runtime.choices), job)
    unresolved: Any = OmegaConf.to_container(config, resolve=False)
    with locked(directory), stop.on_signals():
        new = Record(directory, plan(unresolved, choices, overrides, training_argv(sys.argv[1:]), time.time()))
        attempt = find_attempt(new, config, extends)
        if extends:
            require_longer(config, attempt.record)
        if attempt.finished:
            return said_before(attempt.record, config.metric, alone)
        recorder = Recorder(attempt.record, underway=attempt.first)
        sweep = None if alone else Path(job.sweep.dir).absolute()
        with (
            outcome_recorded(recorder, stop, sweep.name if sweep else None),
            job_of_many(job),
            without_expected_warnings(),
        ):
            this = prepare(config, recorder, stop, attempt, sweep, _pruning(job))
            fit(this)
            value = finish(this)
            if alone and this.trainer.is_global_zero:
                console.say(console.ended(recorder.record))
    return value


def _make_absolute(config: DictConfig, started: Path) -> None:
    """Keeps relative paths of the command line what they were where it was given, if the job runs elsewhere."""
    if started == Path.cwd():
        return
    for key in ("resume", "data.root"):
        if (path := OmegaConf.select(config, key)) is not None:
            OmegaConf.update(config, key, str(started / Path(str(path)).expanduser()))


def _pruning(job: Any) -> Pruning | None:
    """What stops this job of a search early, if anything is to."""
    if job.mode == RunMode.RUN or not job.sweeper.get("pruner"):
        return None
    return Pruning(job.sweeper, Path(job.sweep.dir).absolute(), job.job.num)


def prepare(
    config: DictConfig,
    recorder: Recorder,
    stop: Stop,
    attempt: Attempt,
    sweep: Path | None,
    pruning: Pruning | None = None,
) -> Run:
    """Builds everything that the configuration names, and loads the data and the checkpoint to continue from.

    Args:
        config: resolved as far as Hydra does.
        recorder: of the run; one that is resumed is left as it is on disk until everything stands.
        stop: receives signals.
        attempt: whether it is the first one at this run.
        sweep: the folder of the sweep that it is a job of; a run that is alone says what will be trained.
        pruning: stops it early.

    Raises:
        ConfigError: a value cannot be used; nothing has been trained.
    """
    record = recorder.record
    record.plan.config = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    parts = build(config)
    record.plan.process = prepare_process(config.process.tune, config.process.threads)
    name = data_set_name(parts.data)
    if record.plan.data not in (None, name):
        raise ConfigError(f"data: the run began with {record.plan.data}, but its configuration now gives {name}")
    record.plan.data = name

    def announce(trainer: pl.Trainer) -> None:
        if sweep is not None:
            return
        console.say(console.summary(config, record, trainer))
        if trainer.global_step:
            console.say(f"resumes after step {trainer.global_step:,} of {record.plan.total_steps:,}")

    keeper = RecordKeeper(recorder, stop, announce)
    if pruning is not None:
        parts.callbacks["pruning"] = pruning
    trainer = make_trainer(parts, record.plan, record.directory, keeper)
    if pruning is not None and trainer.world_size > 1:
        raise ConfigError("hydra.sweeper.pruner: must be null for runs of several processes")
    if attempt.first and trainer.is_global_zero:
        recorder.write()
    if record.plan.seconds_per_step is None and needs_pace(parts):
        record.plan.seconds_per_step = pace(config, sweep)
        if (attempt.noted or {}).get("mode") == "extend":
            require_longer(config, record)
    length = length_of(config, record.plan.seconds_per_step)
    module = make_module(parts, trainer.strategy.root_device, length)
    checkpoint = attempt.enter(recorder, trainer.is_global_zero)
    resumption = module.course.resumption
    resumption.recorded_best = dict(record.outcome.best)
    resumption.extended_at = {row["step"] for row in record.progress.resumed if row.get("mode") == "extend"}
    if config.resume_mode == "weights" and checkpoint is None:
        take_weights(module, Path(config.resume) / FOLDER / LAST)
    if isinstance(parts.data, TensorData):
        record.plan.sizes = parts.data.sizes
    record.plan.parameters = parameter_count(module)
    record.plan.device = str(trainer.strategy.root_device)
    record.plan.threads = torch.get_num_threads()
    return Run(config, recorder, parts.data, module, trainer, stop, checkpoint)


def fit(run: Run) -> None:
    """Trains and validates.

    Raises:
        Interrupted: a signal asked for it; the last checkpoint is where it stopped.
        DivergedError: the loss is not finite.
    """
    with run.stop.at_a_step():
        run.trainer.fit(run.module, datamodule=run.data, ckpt_path=run.checkpoint, weights_only=True)
    run.stop.obey()


def finish(run: Run) -> float:
    """Tests the final weights, draws ``lr.png`` and completes the record.

    Returns:
        The final value of ``config.metric``; NaN where validation was switched off.
    """
    module, record, trainer = run.module, run.recorder.record, run.trainer
    course, journal = module.course, module.course.journal
    if journal.validated_at != trainer.global_step:
        trainer.validate(module, datamodule=run.data, verbose=False)
    if is_tested(module, run.data):
        trainer.test(module, datamodule=run.data, verbose=False)
    assert course.horizon is not None, "fit has configured the optimizer"
    record.plan.total_steps = course.horizon.total_steps
    record.plan.steps_per_epoch = course.horizon.steps_per_epoch
    record.progress.steps, record.progress.divergence = trainer.global_step, journal.divergence.first
    record.progress.epochs, record.progress.rates = journal.epochs, journal.rates
    record.outcome.final = {key: value for key, value in journal.metrics.items() if key in journal.known}
    record.outcome.best = journal.best
    record.outcome.ended_by = ended_by(trainer, course.horizon.total_steps)
    # A metric of somebody's module that is no number, such as an AUC of one class, is only not known.
    losses = {name for name, metric in journal.known.items() if metric.unit == "loss"} | {journal.monitor}
    ended = [value for name, value in record.outcome.final.items() if name in losses and value is not None]
    if not all(map(math.isfinite, ended)):
        raise DivergedError(f"it ended with {console.result(record)}")
    _keep_outcomes(run)
    if trainer.is_global_zero:
        from lrdecay.reports.rates import rate_figure  # matplotlib: not before the training

        title = console.named_schedule(record.plan.choices)
        apart = ratios(run.config.optimizer.get("groups"))
        assert record.plan.steps_per_epoch is not None, "of a trainer with batches"
        quantities = course.quantities.over([step for step, _ in record.progress.rates]) if course.quantities else {}
        figure = rate_figure(record.progress.rates, record.plan.steps_per_epoch, title, apart, quantities)
        write_atomically(record.directory / "lr.png", figure)
        record.outcome.status = "completed"
        run.recorder.write()
    return journal.metrics.get(run.config.metric, math.nan)


def _keep_outcomes(run: Run) -> None:
    """Keeps what became of each item of a test set that other runs have too.

    Of several processes each has seen a share only, and where every seed has a test set of its own there is nothing to
    compare item by item.
    """
    config = run.config.data
    if not isinstance(run.module, Classifier):
        return
    if run.trainer.world_size == 1 and not resampled(run.recorder.record.plan.data, config.get("resample", False)):
        write_items(run.recorder.record.directory, Items(*run.module.outcomes.read()))
