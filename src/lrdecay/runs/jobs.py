"""What surrounds a run: its outcome is recorded, and it leaves nothing behind for the next run of its process."""

import gc
import logging
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from hydra.types import RunMode
from lightning_utilities.core.rank_zero import rank_zero_only
from omegaconf import OmegaConf, read_write
from pytorch_lightning.utilities.exceptions import SIGTERMException

from lrdecay.commands import training_argv
from lrdecay.config.messages import one_line
from lrdecay.config.overrides import flags, shell_word
from lrdecay.errors import ConfigError, DivergedError, PrunedError
from lrdecay.records.record import Status
from lrdecay.records.recorder import Recorder
from lrdecay.reports import console
from lrdecay.training.checkpoints import FOLDER, LAST
from lrdecay.training.stopping import Interrupted, Stop

log = logging.getLogger(__name__)

LEFT_BEHIND = (
    "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "OMP_NUM_THREADS", "WORLD_SIZE", "CUBLAS_WORKSPACE_CONFIG",
)  # fmt: skip
"""Environment variables that Lightning sets."""


@contextmanager
def outcome_recorded(recorder: Recorder, stop: Stop, sweep: str | None) -> Iterator[None]:
    """Leaves how the run ended in the record and the traceback in the log, and raises again.

    A run that could not even be resumed keeps the record that it has.

    Args:
        recorder: of the run.
        stop: receives the signals; they are ignored while the outcome is written.
        sweep: the name of the sweep that it belongs to.
    """
    record = recorder.record
    outcome = record.outcome
    try:
        yield
    except BaseException as error:
        if getattr(rank_zero_only, "rank", 0) > 0 and _met_by_all(error):
            # The first one reports it. Any other status of the others would make Lightning kill that one.
            raise SystemExit(0) from error
        stop.ignore()
        outcome.status = _status(error)
        outcome.error = str(error) or "interrupted" if outcome.status == "interrupted" else one_line(error)
        outcome.traceback = traceback.format_exc()
        log.info("%s: %s", outcome.status, outcome.error, exc_info=True)
        if recorder.underway and getattr(rank_zero_only, "rank", 0) == 0 and record.directory.is_dir():
            try:
                recorder.write()
                error.recorded = True  # type: ignore[attr-defined]
            except OSError as unwritable:  # the disk may be what is full; then that is not the news
                log.error("%s: its record could not be written: %s", outcome.status, one_line(unwritable))
        if outcome.status == "interrupted":
            folder = console.relative(record.directory)
            own = [*map(shlex.quote, flags(sys.argv[1:])), shell_word("resume", folder)]
            again = " ".join(own) if sweep is None else f"the same command with {shell_word('name', sweep)}"
            how = "resumes" if (record.directory / FOLDER / LAST).exists() else "restarts"
            print(f"{outcome.error} → {folder}; {again} {how} it", file=sys.stderr)
            raise SystemExit(_exit_status(error)) from error
        raise


def _met_by_all(error: BaseException) -> bool:
    """Whether all processes of a distributed run meet an error, and at the same step."""
    return isinstance(error, ConfigError | DivergedError) or (isinstance(error, Interrupted) and error.agreed)


def _exit_status(error: BaseException) -> int:
    """What a shell expects of a program that a signal has ended."""
    if isinstance(error, Interrupted):
        return error.status
    return 128 + (signal.SIGTERM if isinstance(error, SIGTERMException) else signal.SIGINT)


def _status(error: BaseException) -> Status:
    if isinstance(error, DivergedError):
        return "diverged"
    if isinstance(error, PrunedError):
        return "pruned"
    return "failed" if isinstance(error, Exception) else "interrupted"


@contextmanager
def job_of_many(job: Any) -> Iterator[None]:
    """Keeps what libraries do to the process within this job of a sweep.

    Lightning starts the other processes of ``ddp`` with this one's ``sys.argv`` and ``hydra.run.dir``: in a sweep that
    would be the whole sweep, so they get the job's. It leaves behind environment variables that say the processes are
    started, a process group, fewer threads, and deterministic algorithms; wandb leaves its run open. All would reach
    into the next job.
    """
    argv = sys.argv
    if job.mode == RunMode.RUN:
        sys.argv = training_argv(argv[1:])
        yield
        sys.argv = argv
        _leave_process_group()  # whose threads could end this process badly when it exits
        return
    threads = torch.get_num_threads()
    deterministic, benchmark = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    environment = {name: os.environ.get(name) for name in LEFT_BEHIND}
    task = cast(list[str], OmegaConf.to_container(job.overrides.task, resolve=False))
    of_the_sweep = ("hydra.mode", "hydra.sweep", "hydra.launcher", "hydra.job.config")
    of_hydra = [override for override in job.overrides.hydra if not override.startswith(of_the_sweep)]
    sys.argv = training_argv([*flags(argv[1:]), *task, *of_hydra])
    with read_write(job):
        job.run.dir = job.runtime.output_dir
    try:
        yield
    finally:
        sys.argv = argv
        _leave_process_group()
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
        gc.collect()  # Trainer and module refer to each other, and would wait with all their weights to be found
        if wandb := sys.modules.get("wandb"):
            wandb.finish()


def _leave_process_group() -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
