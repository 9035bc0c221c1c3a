"""Runs and their comparison as data, for notebooks and programs: ``lrdecay.load`` and ``lrdecay.compare``.

What they need beyond numpy is imported when they are called: ``from lrdecay import *`` names them too.
"""

import warnings
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from lrdecay.errors import ConfigError

if TYPE_CHECKING:
    from lrdecay.analysis.comparison import Comparison
    from lrdecay.records.record import Record


def load(*folders: str | PathLike[str]) -> "list[Record]":
    """Every run in these folders and below.

    >>> import lrdecay
    >>> lrdecay.load("outputs/sweeps/none")
    Traceback (most recent call last):
        ...
    lrdecay.errors.ConfigError: outputs/sweeps/none: no such folder

    Warns of a file that is not a record, and leaves it out.

    Returns:
        A record of each run: ``directory``; ``plan``, with ``config``, ``choices``, ``overrides``, ``data``,
        ``total_steps``; ``progress``, with ``epochs``, a row of metrics for each, and ``rates``, pairs of step and
        rate; ``outcome``, with ``status`` and the metrics ``final`` and ``best``.

    Raises:
        ConfigError: a folder does not exist.
    """
    from lrdecay.analysis.groups import load_records

    for folder in folders:
        if not Path(folder).is_dir():
            raise ConfigError(f"{folder}: no such folder")
    records, problems = load_records(map(Path, folders))
    for problem in problems:
        warnings.warn(problem, stacklevel=2)
    return records


def compare(
    runs: "Sequence[Record]",
    baseline: str | None = None,
    tuned_over: Sequence[str] = (),
    cut_short: bool = False,
    *,
    tuned_by: Sequence[int] = (),
) -> "Comparison":
    """Compares runs: groups, their measures, and the differences from a baseline.

    Args:
        runs: as `load` gives them, on one data set.
        baseline: the group that the others are compared with: its label, or words of it; the constant rate by default.
        tuned_over: keys of which each group takes the value that validates best, such as ``optimizer.lr``.
        cut_short: whether runs count that completed, but did not reach their planned end.
        tuned_by: the seeds that choose these values, and do not judge; without them all seeds do both, and a group
            that was tried at more values looks better than it is.

    Returns:
        The comparison: ``table``, a `pandas.DataFrame` with a row for each group and measure (the mean over seeds with
        its interval; the gain over the baseline with its interval, p-value and verdict), and ``notes``, its caveats.

    Raises:
        ConfigError: there are no runs, or they are on several data sets, or there is no such baseline, key or seed.
    """
    from lrdecay.analysis.comparison import compare_records

    comparisons = compare_records(runs, baseline, tuned_over, tuned_by, cut_short)
    if len(comparisons) != 1:
        found = ", ".join(comparison.data for comparison in comparisons) or "none"
        raise ConfigError(f"runs: must be on one data set, not {found}; select them by run.plan.data")
    return comparisons[0]
