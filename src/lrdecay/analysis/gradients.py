"""The gradient norms that runs logged."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lrdecay.analysis.logged import logged
from lrdecay.analysis.settings import differing, settings_of
from lrdecay.errors import ConfigError
from lrdecay.metrics import GRADIENT_NORM, METRICS_FILE
from lrdecay.records.record import Record
from lrdecay.text import listed

FEWEST = 10
"""Norms of a run, to tell how they change over it."""
MOST = 500


def gradient_norms(records: Sequence[Record]) -> tuple[np.ndarray, np.ndarray]:
    """The steps at which the norm of the gradient was logged, and its root mean square over the runs there.

    Of more than `MOST`, several that follow one another are taken together.

    Args:
        records: runs that differ in their seed only.

    Raises:
        ConfigError: a run was cut short, or logged none; or they are not alike.
    """
    if keys := differing([settings_of(run) for run in records]):
        raise ConfigError(f"the runs: must differ in their seeds only, not in {listed(keys)}")
    found = [_norms(run) for run in records]
    steps = found[0].index.to_numpy()
    if any(not np.array_equal(other.index, steps) for other in found):
        raise ConfigError("the runs: must have logged the norm at the same steps (callbacks.gradient_norm.every)")
    every = -(-len(steps) // MOST)
    firsts = np.arange(0, len(steps), every)
    squares = np.mean([norms.to_numpy() ** 2 for norms in found], axis=0)
    return steps[firsts], np.sqrt(np.add.reduceat(squares, firsts) / np.diff([*firsts, len(steps)]))


def _norms(run: Record) -> pd.Series:
    if run.outcome.status != "completed" or not run.whole:
        raise ConfigError(f"{run.directory}: must have completed as planned, but {run.outcome.status}")
    norms = logged(run, GRADIENT_NORM)
    if norms.empty:
        raise ConfigError(
            f"{run.directory}: has no {GRADIENT_NORM} in its {METRICS_FILE}; callbacks=gradient_norm logs it"
        )
    if len(norms) < FEWEST:
        raise ConfigError(
            f"{run.directory}: must have logged {FEWEST} gradient norms, not {len(norms)}; "
            "callbacks.gradient_norm.every says how often"
        )
    return norms
