"""What a few numbers say: intervals, paired differences, and p-values of many tests at once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv, stdtr, stdtrit

LEVEL = 0.95
BOOTSTRAP_FROM = 20
"""Values below which a bootstrap interval is too narrow to be shown."""


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval; the ends are NaN where there are fewer than two values."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Difference(Estimate):
    """A mean difference from a baseline.

    Attributes:
        n: pairs, or values of the smaller side where they could not be paired.
        p: two-sided, that there is no difference; NaN where it could not be tested.
        paired: whether by seed.
    """

    p: float
    paired: bool


def interval(values: np.ndarray, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the first axis and half the width of its t interval, NaN where there are fewer than two values.

    Args:
        values: runs × anything; what is not finite counts as missing.
        level: confidence.
    """
    values = np.where(np.isfinite(values), values, np.nan)
    n = np.isfinite(values).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(values, axis=0) / n
        variance = np.nansum((values - mean) ** 2, axis=0) / (n - 1)
        half = stdtrit(n - 1, (1 + level) / 2) * np.sqrt(variance / n)
    return np.where(n > 0, mean, np.nan), np.where(n > 1, half, np.nan)


def estimate(values: Sequence[float] | np.ndarray, level: float = LEVEL) -> Estimate:
    """The mean and its t interval; NaN counts as missing."""
    values = _finite(values)
    mean, half = (float(number) for number in interval(values, level))
    return Estimate(mean, mean - half, mean + half, len(values))


def bootstrap(values: Sequence[float] | np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The bias-corrected and accelerated bootstrap interval of the mean (Efron 1987), the same at every call.

    NaN where there are fewer than `BOOTSTRAP_FROM` values, or all are equal.
    """
    values = _finite(values)
    if len(values) < BOOTSTRAP_FROM or np.ptp(values) == 0:
        return math.nan, math.nan
    from scipy import stats  # takes long to import

    ends = stats.bootstrap((values,), np.mean, confidence_level=level, rng=0).confidence_interval
    return float(ends.low), float(ends.high)


def difference(values: Mapping[int, float], baseline: Mapping[int, float], level: float = LEVEL) -> Difference:
    """How much the values lie above a baseline's.

    Paired by seed, with Student's t for the mean of the differences, over the seeds that both have. Where fewer than
    two are common and both have several, Welch's t for two samples. Differences that are all the same have no spread
    from which t could tell anything: there is no interval then, and the p is that of the sign test.

    Args:
        values, baseline: a number for each seed; NaN counts as missing.
        level: confidence of the interval.
    """
    values, baseline = ({seed: x for seed, x in side.items() if math.isfinite(x)} for side in (values, baseline))
    common = sorted(values.keys() & baseline.keys())
    if len(common) < 2 <= min(len(values), len(baseline)):
        sides = np.array(list(values.values())), np.array(list(baseline.values()))
        mean, n = float(sides[0].mean() - sides[1].mean()), min(map(len, sides))
        if any(np.ptp(side) == 0 for side in sides):  # as above, and there are no signs to count
            return Difference(mean, math.nan, math.nan, n, math.nan, False)
        from scipy import stats  # takes long to import

        test = stats.ttest_ind(*sides, equal_var=False)
        ends = test.confidence_interval(level)
        return Difference(mean, float(ends.low), float(ends.high), n, float(test.pvalue), False)
    differences = np.array([values[seed] - baseline[seed] for seed in common])
    found = estimate(differences, level)
    if found.n < 2:
        return Difference(found.mean, math.nan, math.nan, found.n, math.nan, True)
    # What rounding leaves of equal differences, 0.9801 − 0.98 and 0.9713 − 0.9712, is no spread.
    dust = 1e-12 * max(abs(side[seed]) for side in (values, baseline) for seed in common)
    if np.ptp(differences) <= dust:
        p = 1.0 if abs(found.mean) <= dust else 0.5 ** (found.n - 1)
        return Difference(found.mean, math.nan, math.nan, found.n, p, True)
    error = differences.std(ddof=1) / math.sqrt(found.n)
    p = 2 * float(stdtr(found.n - 1, -abs(found.mean) / error))
    return Difference(found.mean, found.low, found.high, found.n, p, True)


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """Holm's step-down correction (1979): p-values that hold for all tests together. NaN is no test, and stays."""
    p = np.asarray(p, dtype=float)
    tested = np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    corrected = p.copy()
    corrected[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return corrected


def proportion(count: int, n: int, level: float = LEVEL) -> Estimate:
    """A part of n with its exact interval (Clopper and Pearson 1934)."""
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    low = float(betaincinv(count, n - count + 1, (1 - level) / 2)) if count else 0.0
    high = float(betaincinv(count + 1, n - count, (1 + level) / 2)) if count < n else 1.0
    return Estimate(count / n, low, high, n)


def _finite(values: Sequence[float] | np.ndarray) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    return np.extract(np.isfinite(array), array)
