"""What a few numbers say: intervals, paired differences, and p-values of many tests at once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv, stdtr, stdtrit

LEVEL = 0.95
FEWEST_ROWS = 3
"""Seeds below which the interval over seeds and items would be too narrow, see the planted truths of the tests."""
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
        new_data: whether interval and p hold for other data too, and not for other seeds alone.
        of_seeds, of_data: the variance of the mean is of_seeds / n + of_data; NaN and 0 where nothing is known of the
            spread.
    """

    p: float
    paired: bool
    new_data: bool = False
    of_seeds: float = math.nan
    of_data: float = 0.0


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


@dataclass(frozen=True)
class Resampled:
    """Each seed has drawn the data that it was trained and evaluated on.

    Attributes:
        overlap: items evaluated for each one trained on, where all seeds draw from one pool; 0 where each has data that
            no other has.
    """

    overlap: float


@dataclass(frozen=True)
class OfItems:
    """All seeds were evaluated on the same items: the outcome of each item, by seed, of both sides."""

    values: Mapping[int, np.ndarray]
    baseline: Mapping[int, np.ndarray]


Sampling = Resampled | OfItems | None
"""How the data were drawn; ``None`` where they are the same for all, and nothing is known of single items."""


def difference(
    values: Mapping[int, float], baseline: Mapping[int, float], level: float = LEVEL, sampling: Sampling = None
) -> Difference:
    """How much the values lie above a baseline's.

    Paired by seed, with Student's t for the mean of the differences, over the seeds that both have. Where fewer than
    two are common and both have several, Welch's t for two samples. Differences that are all the same have no spread
    from which t could tell anything: there is no interval then, and the p is that of the sign test.

    Over seeds that share a test set, the mean difference is as uncertain as the choice of its items, too; how
    uncertain is known where the outcome of each item is, see `_two_way`. Seeds that each split one pool anew have items
    in common, so their differences vary less than those of new data would: the variance is s²·(1/n + overlap) then, and
    not s²/n (Nadeau and Bengio 2003).

    Args:
        values, baseline: a number for each seed; NaN counts as missing.
        level: confidence of the interval.
        sampling: how the data were drawn, if the interval is to hold for other data too.
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
        new_data = sampling == Resampled(0.0)
        of_seeds = n * sum(float(side.var(ddof=1)) / len(side) for side in sides)
        return Difference(mean, float(ends.low), float(ends.high), n, float(test.pvalue), False, new_data, of_seeds)
    differences = np.array([values[seed] - baseline[seed] for seed in common])
    found = estimate(differences, level)
    if found.n < 2:
        return Difference(found.mean, math.nan, math.nan, found.n, math.nan, True)
    # What rounding leaves of equal differences, 0.9801 − 0.98 and 0.9713 − 0.9712, is no spread.
    dust = 1e-12 * max(abs(side[seed]) for side in (values, baseline) for seed in common)
    if np.ptp(differences) <= dust:
        p = 1.0 if abs(found.mean) <= dust else 0.5 ** (found.n - 1)
        return Difference(found.mean, math.nan, math.nan, found.n, p, True)
    alone = float(differences.var(ddof=1))  # what it would be of the seeds alone
    of_seeds, of_data, freedom = alone, 0.0, float(found.n - 1)
    new_data = False
    if isinstance(sampling, Resampled):
        of_data, new_data = of_seeds * sampling.overlap, True
    elif sampling is not None and found.n >= FEWEST_ROWS and _all_have_items(sampling, common):
        of_items = np.stack([sampling.values[seed] - sampling.baseline[seed] for seed in common])
        new_data = True
        parts = _two_way(of_items)
        if any(parts[:2]):  # or items say nothing, being alike in the precision that they are kept in
            of_seeds, of_data, freedom = parts
    error = math.sqrt(of_seeds / found.n + of_data)
    half = float(stdtrit(freedom, (1 + level) / 2)) * error
    p = _two_sided(found.mean, error, freedom)
    if isinstance(sampling, OfItems):  # of few seeds, Satterthwaite's may come out below that of the seeds alone
        half = max(half, (found.high - found.low) / 2)
        p = max(p, _two_sided(found.mean, math.sqrt(alone / found.n), found.n - 1))
    return Difference(found.mean, found.mean - half, found.mean + half, found.n, p, True, new_data, of_seeds, of_data)


def _two_sided(mean: float, error: float, freedom: float) -> float:
    return 2 * float(stdtr(freedom, -abs(mean) / error))


def _all_have_items(sampling: OfItems, seeds: Sequence[int]) -> bool:
    return all(seed in side for side in (sampling.values, sampling.baseline) for seed in seeds)


def _two_way(outcomes: np.ndarray) -> tuple[float, float, float]:
    """The variance of the mean of a table over new rows and new columns: what of it falls as 1/n with the rows n, times
    n, and what does not; and its degrees of freedom.

    A number of row i and column j is a mean + a part of the row + a part of the column + a rest, each drawn anew, so
    the mean of n × m of them has the variance of the rows' parts / n + that of the columns' / m + that of the rest /
    (n·m). It is estimated from the mean squares, as (rows' + columns' − rest's) / (n·m), and is not less than the
    rows' or the columns' alone would make it; the degrees of freedom are Satterthwaite's (1946).

    Args:
        outcomes: seeds × items, at least `FEWEST_ROWS` and two.
    """
    n, m = outcomes.shape
    outcomes = outcomes.astype(np.float64) - outcomes.mean(dtype=np.float64)
    of_rows, of_columns = outcomes.mean(axis=1), outcomes.mean(axis=0)
    rows = m * float((of_rows**2).sum()) / (n - 1)
    columns = n * float((of_columns**2).sum()) / (m - 1)
    rest_squares = float((outcomes**2).sum()) - rows * (n - 1) - columns * (m - 1)
    rest = max(rest_squares, 0.0) / ((n - 1) * (m - 1))
    total = rows + columns - rest
    if total <= max(rows, columns):  # one of the parts seems to be none: what is left are the other and the rest
        if rows >= columns:
            return rows / m, 0.0, n - 1
        of_columns_alone = max(columns - rest, 0.0) / (n * m)
        return columns / m - n * of_columns_alone, of_columns_alone, m - 1
    squares = rows**2 / (n - 1) + columns**2 / (m - 1) + rest**2 / ((n - 1) * (m - 1))
    return rows / m, (columns - rest) / (n * m), total**2 / squares


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
