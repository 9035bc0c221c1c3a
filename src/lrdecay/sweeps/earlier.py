"""The runs that were in a sweep's folder before a launch: which job repeats which of them, and in which folder."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from lrdecay.records.identity import determining, differences, identity
from lrdecay.records.record import Record
from lrdecay.sweeps.plan import Job, data_meant


class Earlier:
    """The runs that were in a sweep's folder before this launch, and the folders that its jobs are given."""

    def __init__(self, records: Sequence[Record] = ()) -> None:
        self.records: dict[str, Record] = {}
        self._settings: dict[str, dict[str, Any]] = {}
        self._repeated: dict[str, list[str]] = {}
        self.add(records)

    def add(self, records: Sequence[Record]) -> None:
        """Takes runs in that have ended since."""
        for record in records:
            folder = record.directory.name
            self.records[folder] = record
            # A run that was extended is nobody's repetition.
            if folder not in self._settings and not any("mode" in row for row in record.progress.resumed):
                self._settings[folder] = _settings(record)
                self._repeated.setdefault(identity(self._settings[folder]), []).append(folder)

    def assign(self, jobs: Iterable[Job]) -> None:
        """Gives each job its folder: that of a run that it repeats, or else its name, numbered if another has that."""
        taken: set[str] = set()
        for job in jobs:
            repeated = [f for f in self._repeated.get(identity(job.settings), ()) if f not in taken]
            names = (job.name if number == 1 else f"{job.name}-{number}" for number in itertools.count(1))
            new = (name for name in names if name not in self.records and name not in taken)
            job.folder = (job.name if job.name in repeated else repeated[0]) if repeated else next(new)
            taken.add(job.folder)

    @property
    def dense(self) -> str | None:
        """What computes dense layers in these runs; ``None`` if there are none, or not all are alike.

        A sweep keeps to it, also on another machine, or its runs would not be the same as those that are added.
        """
        kernels = {record.plan.dense for record in self.records.values()}
        return kernels.pop() if len(kernels) == 1 else None

    def undealt(self, data: str) -> bool:
        """Whether there are runs on a data set, and all seeds share its split: a version before did so by default."""
        splits = {"data.resample" in settings for settings in self._settings.values() if settings["data"] == data}
        return splits == {False}

    def settled(self, folder: str) -> bool:
        """Whether the run in a folder need not be run again."""
        return folder in self.records and self.records[folder].settled

    def changed(self, job: Job) -> list[str]:
        """How the run that has a job's name differs from it; nothing if none has."""
        return differences(self._settings[job.name], job.settings) if job.name in self._settings else []


def _settings(record: Record) -> dict[str, Any]:
    plan = record.plan
    return determining(plan.config, plan.data) | {"data": data_meant(plan.composed, plan.data)}
