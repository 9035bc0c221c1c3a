"""The trials of a search as jobs: begun one by one, and told to the study as they end."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from lrdecay.config.overrides import key_of, override
from lrdecay.errors import ConfigError
from lrdecay.sweeps.announcements import record_in
from lrdecay.sweeps.plan import Job, plan
from lrdecay.sweeps.space import Space
from lrdecay.sweeps.study import begun, interrupted, tell

if TYPE_CHECKING:
    import optuna

    from lrdecay.config.variants import Variants
    from lrdecay.sweeps.earlier import Earlier


@dataclass
class Trials:
    """The jobs of a study's trials, as a launcher asks for them, and the trials told as they end; a `Source`.

    Trial n has the jobs n·seeds, n·seeds + 1, …

    Attributes:
        study: of the search.
        space: that is searched.
        config: of the sweep.
        variants: composes the configurations of jobs.
        has: whether a configuration under some overrides has a key, see `Space.suggest`.
        seeds: runs of a trial.
        objectives: names.
        earlier: the runs that were there before.
        announcements: say what need not be run.
        count: how many trials there may be.
        jobs: those of all trials that have begun in this launch, by number.
    """

    study: "optuna.Study"
    space: Space
    config: DictConfig
    variants: "Variants"
    has: Callable[[Sequence[str], str], bool]
    seeds: int
    objectives: Sequence[str]
    earlier: "Earlier"
    announcements: Any
    count: int
    jobs: dict[int, Job]

    def __post_init__(self) -> None:
        self._fixed = [key_of(word) for word in self.space.fixed]
        self._open: dict[int, set[int]] = {}
        self._waiting: deque[int] = deque()
        for trial in interrupted(self.study):
            try:
                chosen = self.space.suggest(trial, self.has)
            except ConfigError:
                raise
            except ValueError:  # Optuna's: it was stopped before it had all of its values
                tell(self.study, trial.number, [], self.objectives)
            else:
                self._begin(trial.number, chosen)

    def next(self) -> tuple[int, Sequence[str]] | None:
        """The next job, of a new trial if need be; see `Source`."""
        while not self._waiting:
            if begun(self.study) >= self.count:
                return None
            trial = self.study.ask()
            self._begin(trial.number, self.space.suggest(trial, self.has))
        job = self.jobs[self._waiting.popleft()]
        folder = override("hydra.sweep.dir", self.config.hydra.sweep.dir)
        return job.number, [*job.overrides, folder, *job.naming]

    def ended(self, number: int) -> None:
        """Tells the trial when the last of its jobs has ended."""
        trial = number // self.seeds
        self._open[trial].discard(number)
        if not self._open[trial]:
            self._tell(trial)

    def _begin(self, number: int, chosen: list[str]) -> None:
        """Makes the jobs of a trial, and tells it where all of them are complete."""
        seeds = [[*chosen, f"seed={1 + i}"] if self.seeds > 1 else chosen for i in range(self.seeds)]
        planned = plan(self.variants, self.config, seeds, self._fixed, number * self.seeds)
        self.earlier.assign(planned)
        self.jobs.update({job.number: job for job in planned})
        waiting = [job for job in planned if not self.earlier.settled(job.folder)]
        for job in planned:
            if job not in waiting:
                self.announcements.complete(job, self.earlier.records[job.folder])
        self._open[number] = {job.number for job in waiting}
        self._waiting.extend(job.number for job in waiting)
        if not waiting:
            self._tell(number)

    def _tell(self, trial: int) -> None:
        own = [self.jobs[trial * self.seeds + i] for i in range(self.seeds)]
        folder = Path(self.config.hydra.sweep.dir)
        records = [record for job in own if (record := record_in(folder / job.folder)) is not None]
        self.earlier.add(records)
        tell(self.study, trial, records if len(records) == len(own) else [], self.objectives)
