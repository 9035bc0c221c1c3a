"""What the differences between runs come from besides their seeds: which data they were trained and tested on."""

import logging
from collections.abc import Callable, Mapping

import numpy as np

from lrdecay.analysis.groups import Group, of_the_seed, seed
from lrdecay.analysis.inference import OfItems, Resampled, Sampling
from lrdecay.data.catalogue import GENERATED, resampled
from lrdecay.records.items import read_items
from lrdecay.records.record import Record, RecordError

log = logging.getLogger(__name__)
ItemsOf = Callable[[Group, str], Mapping[int, np.ndarray]]


def sampling(group: Group, baseline: Group, measure: str, items_of: ItemsOf) -> Sampling:
    """How the data of two groups were drawn; ``None`` where they are fixed and nothing is known of single items.

    Args:
        group, baseline: whose difference it is.
        measure: in which.
        items_of: `items_by_seed`, or the same kept.
    """
    runs = [*group.completed, *baseline.completed]
    own = {_is_resampled(run) for run in runs}
    if own == {True}:
        return Resampled(0.0 if group.data in GENERATED else max(_overlap(run, measure) for run in runs))
    if own != {False} or measure not in ("test/acc", "test/loss"):
        return None
    values, others = items_of(group, measure), items_of(baseline, measure)
    sizes = {len(items) for side in (values, others) for items in side.values()}
    return OfItems(values, others) if len(sizes) == 1 and min(sizes) > 1 else None


def items_by_seed(group: Group, measure: str) -> dict[int, np.ndarray]:
    """The outcomes of each test item for each seed, the mean where a seed was run more than once."""
    found: dict[int, list[np.ndarray]] = {}
    for run in group.completed:
        try:
            items = read_items(run.directory)
        except RecordError as error:
            log.warning("%s", error)
            continue
        if items is not None and (of := items.of(measure)) is not None:
            found.setdefault(seed(run), []).append(of)
    return {of: np.mean(several, axis=0) for of, several in found.items() if len({len(one) for one in several}) == 1}


def _is_resampled(run: Record) -> bool:
    data = run.plan.config.get("data")
    own = resampled(run.plan.data, data.get("resample", False) if isinstance(data, dict) else False)
    return own or any(key.startswith("data.") for key in of_the_seed(run))


def _overlap(run: Record, measure: str) -> float:
    sizes = run.plan.sizes
    of = sizes.get("test" if measure.startswith("test/") else "val", 0)
    return of / max(sizes.get("train", 0), 1)
