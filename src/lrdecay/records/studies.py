"""Where Optuna keeps what is known of a search, and what stops its trials early: for sweeps, and for their runs."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optuna

PRUNERS = ("median", "percentile", "hyperband")
JOURNAL = "study.journal"
PERCENT = 100
"""Into how many parts a run is divided; runs of any length are compared after as many of them."""


def storage_of(folder: Path, url: str | None) -> Any:
    """Where the study of a search is kept: in its folder, or at a URL."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    return url or optuna.storages.JournalStorage(JournalFileBackend(str(folder / JOURNAL)))


def make_pruner(name: str, after: int) -> "optuna.pruners.BasePruner":
    """One of `PRUNERS`.

    Args:
        name: median stops what is worse than half of the others, percentile what is worse than three quarters of
            them, hyperband two thirds of a group at a time.
        after: the fraction of its run, in percent, that every trial gets before it can be pruned.
    """
    import optuna

    if name == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=after, max_resource=PERCENT)
    if name == "percentile":
        return optuna.pruners.PercentilePruner(75.0, n_warmup_steps=after)
    return optuna.pruners.MedianPruner(n_warmup_steps=after)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what Optuna says of its own experimental parts, and of a value that is reported once more."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
