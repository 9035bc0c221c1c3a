"""What the differences between runs come from besides their seeds: which data they were trained and tested on."""

import logging
from collections.abc import Callable, Mapping

import numpy as np

from lrdecay.analysis.groups import Group
from lrdecay.analysis.inference import OfItems, Resampled, Sampling
from lrdecay.analysis.settings import of_the_seed, seed
from lrdecay.data.catalogue import GENERATED, TEXTS, is_own, resampled
from lrdecay.records.items import read_items
from lrdecay.records.record import Record, RecordError

log = logging.getLogger(__name__)
PASSAGES = 40
"""Of a text, as many as give its variance some degrees of freedom, and as few as make each long."""
ItemsOf = Callable[[Group, str], Mapping[int, np.ndarray]]


def sampling(group: Group, baseline: Group, measure: str, items_of: ItemsOf) -> Sampling:
    """How the data of two groups were drawn; ``None`` where they are fixed and nothing is known of single items.

    Args:
        group, baseline: whose difference it is.
        measure: in which.
        items_of: `items_by_seed`, or the same kept.
    """
    runs = [*group.completed, *baseline.completed]
    drawn = {_is_resampled(run) for run in runs}
    if drawn == {True}:
        overlaps = [0.0 if group.data in GENERATED else _overlap(run, measure) for run in runs]
        return None if None in overlaps else Resampled(max(filter(None, overlaps), default=0.0))
    if drawn != {False} or measure not in ("test/acc", "test/loss"):
        return None
    values, others = items_of(group, measure), items_of(baseline, measure)
    sizes = {len(items) for side in (values, others) for items in side.values()}
    return OfItems(values, others) if len(sizes) == 1 and min(sizes) > 1 else None


def items_by_seed(group: Group, measure: str) -> dict[int, np.ndarray]:
    """The outcomes of each test item for each seed, the mean where a seed was run more than once.

    Neighbouring windows of a text are about the same, and no independent items; so these are passages, `PASSAGES` of
    equal length, each with the mean of its windows (batch means).
    """
    found: dict[int, list[np.ndarray]] = {}
    for run in group.completed:
        try:
            items = read_items(run.directory)
        except RecordError as error:
            log.warning("%s", error)
            continue
        if items is not None and (of := items.of(measure)) is not None:
            found.setdefault(seed(run), []).append(_passages(of) if _is_text(run) else of)
    return {of: np.mean(several, axis=0) for of, several in found.items() if len({len(one) for one in several}) == 1}


def _is_text(run: Record) -> bool:
    data = run.plan.config.get("data")
    return isinstance(data, dict) and data.get("_target_") in TEXTS


def _passages(windows: np.ndarray) -> np.ndarray:
    length = len(windows) // PASSAGES
    return windows[: length * PASSAGES].reshape(PASSAGES, length).mean(axis=1) if length > 1 else windows


def _is_resampled(run: Record) -> bool:
    """Whether its seed drew its data; of somebody's own class, whether a key of the data follows from the seed."""
    data = run.plan.config.get("data")
    if isinstance(data, dict) and is_own(data.get("_target_")):
        return resampled(run.plan.data, data.get("resample", False))
    return any(key.startswith("data.") for key in of_the_seed(run))


def _overlap(run: Record, measure: str) -> float | None:
    """See `Resampled`; ``None`` where the sizes of the splits are not known."""
    sizes = run.plan.sizes
    of, trained = sizes.get("test" if measure.startswith("test/") else "val"), sizes.get("train")
    return of / trained if of and trained else None
