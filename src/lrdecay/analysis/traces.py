"""Rates and losses of recorded runs, as a law is fitted to them."""

from collections.abc import Sequence

import numpy as np

from lrdecay.analysis.groups import Group, group_records, matching
from lrdecay.analysis.logged import logged
from lrdecay.analysis.settings import differing, settings_of
from lrdecay.errors import ConfigError
from lrdecay.records.record import Record
from lrdecay.text import listed
from lrdecay.theory.fitting import SAME_PEAK, Trace

FREE = ("schedule.", "scale.", "optimizer.lr", "trainer.max_epochs", "trainer.max_steps", "duration", "ssr")
"""Keys, or how they begin, in which runs of one law may differ; their peak rates are compared themselves."""


def of_records(records: Sequence[Record], metric: str, peak: float | None = None) -> list[Trace]:
    """Traces of the runs that completed as planned.

    Args:
        records: on one data set, alike in all but their schedules, lengths and seeds.
        metric: the loss: val/loss or train/loss.
        peak: takes those of this peak rate alone.

    Raises:
        ConfigError: they are not alike.
    """
    whole = [run for run in records if run.outcome.status == "completed" and run.whole and run.progress.rates]
    if peak is not None:
        whole = [run for run in whole if np.isclose(max(rate for _, rate in run.progress.rates), peak, rtol=SAME_PEAK)]
    if not whole:
        at = f" at the peak rate {peak:g}" if peak is not None else ""
        raise ConfigError(f"the law: needs runs that completed as planned{at}; none of {len(records)} did")
    data = sorted({str(run.plan.data) for run in whole})
    if len(data) > 1:
        raise ConfigError(f"the law: must be fitted to runs on one data set, not {', '.join(data)}")
    if keys := [key for key in differing([settings_of(run) for run in whole]) if not key.startswith(FREE)]:
        raise ConfigError(
            f"the law: must be fitted to runs that differ in schedule, length and seed only, not in {listed(keys)}"
        )
    return [_of_record(run, metric) for run in whole]


def apart(records: Sequence[Record], names: Sequence[str]) -> tuple[list[Record], list[Group]]:
    """The runs of the groups with these names, and the other groups.

    Args:
        records: on one data set.
        names: labels of groups, or words of them.

    Raises:
        ConfigError: no group has a name, or none is left.
    """
    groups = [g for same in group_records(records).values() for g in same]
    chosen = [matching(groups, name) for name in names]
    for name, found in zip(names, chosen, strict=True):
        if not found:
            raise ConfigError(f"{name}: must be one of the groups, which are {listed([g.label for g in groups])}")
    labels = {g.label for found in chosen for g in found}
    if not (others := [g for g in groups if g.label not in labels and g.completed]):
        raise ConfigError(f"{listed(list(names))}: must leave a group to be predicted")
    return [run for g in groups if g.label in labels for run in g.runs], others


def every_rate(run: Record, steps: int | None = None) -> np.ndarray:
    """The rate of each step of a run, or of its first so many; a record has some two hundred, linear between them."""
    noted, rates = map(np.array, zip(*run.progress.rates, strict=True))
    every: np.ndarray = np.interp(np.arange(noted[-1] + 1 if steps is None else steps), noted, rates)
    return every


def _of_record(run: Record, metric: str) -> Trace:
    measured = {int(row["step"] or 0): row.get(metric) for row in run.progress.epochs if row.get("step") is not None}
    losses = {step + 1: float(loss) for step, loss in measured.items() if loss is not None}
    if metric.startswith("val/"):  # of the training loss single batches are logged, of which the epoch is the mean
        losses |= {int(step) + 1: loss for step, loss in logged(run, metric).items()}
    if not losses:
        raise ConfigError(f"{run.directory.name}: has no {metric}, which the law is to be fitted to")
    return Trace(
        run.directory.name,
        every_rate(run, max(losses)),
        np.array(sorted(losses)),
        np.array([losses[step] for step in sorted(losses)]),
    )
