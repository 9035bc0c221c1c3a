"""Whether groups come in the order that theory gives them."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import permutation_test, spearmanr

from lrdecay.analysis.claim import RANK_CORRELATION
from lrdecay.analysis.groups import Group
from lrdecay.analysis.measures import measures_of
from lrdecay.analysis.question import Question
from lrdecay.analysis.traces import every_rate
from lrdecay.errors import BadValue, ConfigError
from lrdecay.theory.bound import bound

FEWEST = 4
"""Groups, for an order that is more than a comparison or two."""


def ordering(groups: Sequence[Group], measure: str, notes: list[str]) -> Question:
    """Whether the measure orders the groups as the bound of convex theory does, seed by seed.

    Each group's bound is that at its best base rate, of the rates that its runs had. A run that diverged comes last; a
    group in which every run did is left out, since none had all of its rates.

    Args:
        groups: all that are ordered.
        measure: of their runs.
        notes: to be added to.

    Raises:
        ConfigError: there are too few groups, or a run has no rates of which there is a bound.
    """
    lost = [g for g in groups if not g.completed]
    for g in lost:
        if len(g.diverged) < len(g.runs):
            raise ConfigError(f"bound_orders={measure}: {g.label} must have completed runs")
    notes += [f"{g.label}: left out of the order, since every run diverged" for g in lost]
    groups = [g for g in groups if g not in lost]
    if len(groups) < FEWEST:
        raise ConfigError(f"bound_orders={measure}: must have {FEWEST} groups to order, not {len(groups)}")
    bounds = [_bound(g) for g in groups]
    if len(set(bounds)) == 1:
        raise ConfigError(f"bound_orders={measure}: must have groups with different bounds, not all {bounds[0]:.3g}")
    by_seed = [_values(g, measure) for g in groups]
    seeds = sorted(set.intersection(*map(set, by_seed)))
    found = {of: _correlation(bounds, [values[of] for values in by_seed]) for of in seeds}
    ranked = sorted(zip(bounds, groups, strict=True), key=lambda pair: pair[0])
    notes.append("by the bound, the lowest first: " + ", ".join(f"{g.name} {value:.3g}" for value, g in ranked))
    notes.append(f"this holds for these {len(groups)} groups only; {_over_groups(bounds, by_seed, seeds)}")
    data = groups[0].data
    sides = Group("the order of the bounds", data, []), Group("chance", data, [])
    return Question(*sides, RANK_CORRELATION, found, dict.fromkeys(found, 0.0))


def _over_groups(bounds: Sequence[float], by_seed: Sequence[Mapping[int, float]], seeds: Sequence[int]) -> str:
    """How likely such an order is where bounds have nothing to do with it: over groups, not seeds."""
    means = [float(np.mean([values[of] for of in seeds])) for values in by_seed]
    if not seeds or not np.isfinite(means).all():
        return "there are no means over seeds"

    def order(values: np.ndarray) -> float:
        return float(spearmanr(bounds, values).statistic)

    test = permutation_test((means,), order, permutation_type="pairings", alternative="greater", rng=0)
    return f"for means over seeds ρ = {test.statistic:.2f} (p = {test.pvalue:.2g}, permutation test)"


def _values(g: Group, measure: str) -> dict[int, float]:
    """The measure for each seed, the higher the worse; infinite where the run diverged."""
    worse = 1.0 if measures_of(g.metrics)[measure].better == "lower" else -1.0
    completed = {of: worse * value for of, value in g.by_seed(measure, {}).items()}
    diverged = {int(run.plan.config["seed"]): math.inf for run in g.diverged}
    return completed | diverged


def _correlation(bounds: Sequence[float], values: Sequence[float]) -> float:
    if any(math.isnan(value) for value in values) or len(set(values)) == 1:
        return math.nan
    return float(spearmanr(bounds, values).statistic)


def _bound(g: Group) -> float:
    noted = [run for run in g.completed if run.progress.rates]  # a run that diverged has the first of them only
    if not noted:
        raise ConfigError(f"bound_orders: {g.label} must have a run with rates")
    whole = max(noted, key=lambda run: run.progress.rates[-1][0])
    try:
        return bound(every_rate(whole)).best
    except BadValue as error:
        raise ConfigError(f"bound_orders: {g.label}: {error}") from error
