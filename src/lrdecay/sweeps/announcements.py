"""What a sweep says of its jobs, as they start and end."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from omegaconf import DictConfig

from lrdecay.records.locks import free
from lrdecay.records.record import FILE, Record, RecordError, read, write
from lrdecay.reports.console import result
from lrdecay.sweeps.plan import Job
from lrdecay.text import format_seconds


class Announcements:
    """Hydra's callbacks of the jobs of a sweep, and after each of these the user's own.

    Args:
        jobs: by number, those that are launched, and those that are already complete; there may be more later.
        total: how many there will be.
        launched: how many are launched.
        others: the callbacks of the configuration.
    """

    def __init__(self, jobs: Mapping[int, Job], total: int, launched: int, others: Any) -> None:
        self._jobs, self._total, self._launched, self._others = jobs, total, launched, others
        self._done = 0
        self._started = time.monotonic()

    def complete(self, job: Job, record: Record) -> None:
        """Says of a job that it need not be launched."""
        print(f"{self._title(job)}: {_outcome(record)} · already complete", flush=True)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        print(self._title(self._jobs[config.hydra.job.num]), flush=True)
        self._others.on_job_start(config=config, **kwargs)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        self._others.on_job_end(config=config, job_return=job_return, **kwargs)
        record = record_in(Path(config.hydra.runtime.output_dir))
        if record is None:
            outcome = f"failed before its record was written: {_returned(job_return)}"
        else:
            if record.outcome.status == "running" and free(record.directory):  # its process was ended from outside
                record.outcome.status, record.outcome.error = "failed", str(_returned(job_return))
                write(record)
            outcome = _outcome(record)
        # Launchers keep what each job returned until the last one has ended, a megabyte each with the configuration.
        job_return.cfg = job_return.hydra_cfg = None
        self._done += 1
        left = (time.monotonic() - self._started) / self._done * (self._launched - self._done)
        time_left = f" · {format_seconds(left)} left" if self._done < self._launched else ""
        print(f"{self._title(self._jobs[config.hydra.job.num])}: {outcome}{time_left}", flush=True)

    def _title(self, job: Job) -> str:
        return f"[{job.number + 1}/{self._total}] {job.label}"


def _outcome(record: Record) -> str:
    outcome = record.outcome
    text = result(record) if outcome.status == "completed" else f"{outcome.status}: {outcome.error}"
    return f"{text} · {record.cut_short}" if record.cut_short else text


def record_in(directory: Path) -> Record | None:
    """The record of a job's folder; ``None`` where there is none that can be read."""
    try:
        return read(directory / FILE)
    except RecordError:
        return None


def _returned(job: JobReturn) -> Any:
    """What a job returned or raised."""
    try:
        return job.return_value
    except Exception as error:
        return error
