"""Trials of a search that are stopped early, since others were better after the same part of their training."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from lrdecay.errors import ConfigError, PrunedError
from lrdecay.records.studies import JOURNAL, PERCENT, make_pruner, quiet, storage_of
from lrdecay.training.module import course_of

if TYPE_CHECKING:
    import optuna


class Pruning(Callback):
    """Reports the metric after every epoch, and ends the run where the pruner says so.

    Args:
        search: the settings of the sweeper: ``storage``, ``pruner``, ``prune_after``, ``objective``.
        folder: of the search.
        number: of the trial.
    """

    def __init__(self, search: Any, folder: Path, number: int) -> None:
        self._search, self._folder, self._number = search, folder, number

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._reported = len(course_of(pl_module).journal.epochs)  # of a run that is resumed
        self._trial = self._find()

    def _find(self) -> "optuna.trial.Trial":
        import optuna

        if self._search.storage is None and not (self._folder / JOURNAL).is_file():
            raise ConfigError(
                "hydra.sweeper.storage=null: must be the URL of a database to prune on nodes that do not see the "
                "folder of the search"
            )
        optuna.logging.set_verbosity(logging.ERROR)
        with quiet():
            study = optuna.load_study(
                study_name=self._folder.name,
                storage=storage_of(self._folder, self._search.storage),
                pruner=make_pruner(self._search.pruner, self._search.prune_after),
            )
        ids = {trial.number: trial._trial_id for trial in study.get_trials(deepcopy=False)}
        return optuna.trial.Trial(study, ids[self._number])

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The epoch before is closed only now."""
        course = course_of(pl_module)
        epochs, horizon = course.journal.epochs, course.horizon
        assert horizon is not None
        if len(epochs) == self._reported:
            return
        self._reported = len(epochs)
        value, total = epochs[-1].get(self._search.objective), horizon.total_steps
        if value is None:
            return
        with quiet():
            self._trial.report(value, PERCENT * trainer.global_step // total)
            pruned = self._trial.should_prune()
        if pruned:
            raise PrunedError(f"at step {trainer.global_step} of {total}")
