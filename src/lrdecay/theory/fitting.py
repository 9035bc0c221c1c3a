"""The multi-power law fitted to runs, and what it then says of others, with an interval.

How much the last losses count, what is left out at the beginning, and the bounds of the parameters were chosen on the
language models that the tests predict.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares
from scipy.special import stdtrit

from lrdecay.errors import ConfigError
from lrdecay.theory.law import PARAMETERS, Law, Summed, evaluate

STARTS = 6
EARLY = 0.1
"""The part of the longest run that is left out at the beginning of each: the law is of what comes after."""
LAST = 10.0
"""How many times as much the last loss of a run counts: it is what is asked for."""
HUBER = 1e-3
"""Relative errors beyond which a loss counts less: those of a noisy evaluation."""
POOR = 0.02
"""How far off, relatively, the last losses may lie before the law is no description of the runs."""
RESAMPLES = 40
LEVEL = 0.95
SAME_PEAK = 0.01
"""The relative difference up to which peak rates are the same: a record has only some of a run's rates."""
FEWEST_POINTS, MOST_POINTS = 8, 60
"""Losses of all runs together, and of one run."""
LOGARITHMIC = np.array([name != "L0" for name in PARAMETERS])
LOWEST = np.array([0.0, 1e-3, 0.05, 1e-4, 1e-7, 0.2, 0.01])
HIGHEST = np.array([np.inf, 1e6, 2.0, 1e2, 1e2, 3.0, 1.0])
"""Bounds; L₀ is below every loss, too. Where all drops of a rate are of one kind, β and γ hardly show in the losses,
and beyond these bounds the law bends where nothing was measured."""

USUAL = np.array([(0.6, 0.97), (1, 100), (0.2, 0.8), (0.05, 1.0), (1e-4, 1e-1), (0.25, 0.9), (0.2, 0.9)])
"""The ranges of the parameters on language models, of L₀ relative to the lowest loss."""
FIRM = 5e-4
"""The relative error that a parameter must save to be at an end of its range: one that runs leave open stays within."""


@dataclass(frozen=True)
class Trace:
    """A run: the rate of each of its optimizer steps, and the loss after some of them.

    Attributes:
        rates: of all steps, at least as many as the last of ``steps``.
        steps: numbers of steps after which the loss was measured, rising.
        losses: those losses, above 0.
    """

    name: str
    rates: np.ndarray
    steps: np.ndarray
    losses: np.ndarray


@dataclass(frozen=True)
class Fit:
    """A law fitted to runs.

    Attributes:
        law: that fits best.
        resamples: those that fit the same number of runs, drawn from them with replacement.
        traces: the runs, those with the same rates as one with their mean losses.
        runs: how many there were.
        scatter: standard deviation of the last losses of the runs around the law, relative.
        steps: of the longest run.
        short: how many runs were too short beside it, and are left out.
    """

    law: Law
    resamples: list[Law]
    traces: list[Trace]
    runs: int
    scatter: float
    steps: int
    short: int = 0

    def intervals(self) -> dict[str, tuple[float, float, float]]:
        """Each parameter with its 95% bootstrap interval over runs."""
        tails = (50 * (1 - LEVEL), 50 * (1 + LEVEL))
        ends = {name: np.percentile([getattr(law, name) for law in self.resamples], tails) for name in PARAMETERS}
        return {name: (getattr(self.law, name), float(low), float(high)) for name, (low, high) in ends.items()}

    def final(self, rates: np.ndarray) -> tuple[float, float, float]:
        """The loss at the end of a run with these rates, and its 95% interval.

        It covers what the bootstrap over runs says of the law, and how single runs scatter around it; of few schedules
        it is wide, as Student's t of as many numbers is.
        """
        return self._interval(Summed(rates / self.law.peak, np.array([len(rates)])))

    def final_of_parts(self, rates: np.ndarray, each: float) -> tuple[float, float, float]:
        """The same for a run of equal parts, of `each` steps, with these rates in their middles.

        No drops are taken together or apart, so it is a smooth function of the rates.
        """
        return self._interval(Summed(rates / self.law.peak, np.array([len(rates)]), each, smooth=True))

    def _interval(self, run: Summed) -> tuple[float, float, float]:
        value, *others = (float(evaluate(law.parameters, run)[0]) for law in (self.law, *self.resamples))
        error = math.sqrt(float(np.mean((np.array(others) - value) ** 2)) + (self.scatter * value) ** 2)
        half = float(stdtrit(len(self.traces) - 1, (1 + LEVEL) / 2)) * error
        return value, value - half, value + half

    @property
    def poor(self) -> bool:
        """Whether the law is no description of these runs."""
        return self.scatter > POOR

    def warnings(self, rates: np.ndarray) -> list[str]:
        """Where a run lies outside of what the law was fitted to, in words."""
        said = []
        if len(rates) > 4 * self.steps:
            said.append(f"it is {len(rates) / self.steps:.1f} times as long as the longest run of the fit")
        relative = rates.max() / self.law.peak
        if not 0.9 < relative < 1.1:
            said.append(f"its peak rate is {relative:.2g} times that of the fit, and the law knows one peak rate only")
        return said


def fit(traces: Sequence[Trace]) -> Fit:
    """Fits the law to runs of one peak rate: the least relative errors, Huber's loss, from several starts.

    Runs with the same rates count as one with their mean losses, as heavy as they are many.

    Raises:
        ConfigError: they do not determine it.
    """
    _check(traces)
    longest = max(int(trace.steps[-1]) for trace in traces)
    both = [(trace, _after(trace, EARLY * longest)) for trace in traces]
    both = [(trace, part) for trace, part in both if len(part.steps) >= FEWEST_POINTS // 2]
    used, late = [trace for trace, _ in both], [part for _, part in both]
    if sum(len(trace.steps) for trace in late) < FEWEST_POINTS or len(late) < 2:
        raise ConfigError(
            f"the law: must have two runs with {FEWEST_POINTS} losses after the first {100 * EARLY:.0f}% of the longest"
        )
    if len(used) < len(traces):
        _check(used)
    peak = max(float(trace.rates.max()) for trace in used)
    summed = {key: Summed(same[0].rates / peak, same[0].steps) for key, same in _alike(late).items()}
    whole = _curves(late, summed)
    drawing = np.random.default_rng(0)
    starts = [_start(drawing, min(float(curve.losses.min()) for curve in whole)) for _ in range(STARTS)]
    best = min((_least(whole, start) for start in starts), key=lambda found: found[1])[0]
    resamples: list[np.ndarray] = []
    while len(resamples) < RESAMPLES:
        drawn = _curves([late[index] for index in drawing.integers(0, len(late), len(late))], summed)
        if any(len(curve.run.drops) for curve in drawn):
            # What is usual is not known exactly either, or parameters that runs leave open would look certain.
            resamples.append(_least(drawn, best, drawing.uniform(-1, 1, len(USUAL)))[0])
    of_last = [evaluate(best, summed[_key(trace)])[-1] / trace.losses[-1] - 1 for trace in late]
    laws = [Law(**dict(zip(PARAMETERS, map(float, found), strict=True)), peak=peak) for found in (best, *resamples)]
    merged = [replace(same[0], losses=_mean(same)) for same in _alike(used).values()]
    scatter = float(np.sqrt(np.mean(np.square(of_last))))
    return Fit(laws[0], laws[1:], merged, len(used), scatter, longest, len(traces) - len(used))


def _key(trace: Trace) -> tuple[bytes, bytes]:
    return trace.rates.tobytes(), trace.steps.tobytes()


def _alike(traces: Sequence[Trace]) -> dict[tuple[bytes, bytes], list[Trace]]:
    """Those with the same rates, measured after the same steps, together."""
    alike: dict[tuple[bytes, bytes], list[Trace]] = {}
    for trace in traces:
        alike.setdefault(_key(trace), []).append(trace)
    return alike


def _mean(same: Sequence[Trace]) -> np.ndarray:
    losses: np.ndarray = np.mean([trace.losses for trace in same], axis=0)
    return losses


@dataclass(frozen=True)
class _Curve:
    """The mean losses of runs with the same rates, and how much they count."""

    run: Summed
    losses: np.ndarray
    weight: float


def _after(trace: Trace, step: float) -> Trace:
    """The part of a run after a step, thinned out to `MOST_POINTS`; its last loss is kept."""
    (kept,) = np.nonzero(trace.steps > step)
    kept = kept[:: -max(1, len(kept) // MOST_POINTS)][::-1]
    return replace(trace, steps=trace.steps[kept], losses=trace.losses[kept])


def _curves(traces: Sequence[Trace], summed: Mapping[tuple[bytes, bytes], Summed]) -> list[_Curve]:
    return [_Curve(summed[key], _mean(same), float(len(same))) for key, same in _alike(traces).items()]


def _check(traces: Sequence[Trace]) -> None:
    if (different := len(_alike(traces))) < 2:
        raise ConfigError(
            f"the law: must have runs of two schedules or lengths for its seven parameters, not {different}"
        )
    peaks = [float(trace.rates.max()) for trace in traces]
    if min(peaks) <= 0:
        raise ConfigError("the law: must be fitted to runs whose rate is above 0")
    if max(peaks) > (1 + SAME_PEAK) * min(peaks):
        several = ", ".join(sorted({f"{peak:.3g}" for peak in peaks}))
        raise ConfigError(f"the law: must be fitted to runs of one peak rate, not {several}")
    if not any(len(Summed(trace.rates / trace.rates.max(), trace.steps).drops) for trace in traces):
        raise ConfigError("the law: must have a run whose rate decays; constant rates do not show what decay gains")
    for trace in traces:
        if not (np.isfinite(trace.losses).all() and (trace.losses > 0).all()):
            raise ConfigError(f"{trace.name}: losses must be finite and above 0")


def _start(drawing: np.random.Generator, lowest: float) -> np.ndarray:
    """Somewhere in the usual ranges."""
    low, high = np.log(USUAL).T
    start: np.ndarray = np.exp(drawing.uniform(low, high))
    start[0] *= lowest
    return start


def _least(curves: Sequence[_Curve], start: np.ndarray, where: np.ndarray | float = 0.0) -> tuple[np.ndarray, float]:
    """The parameters with the least error from there, and that error.

    Args:
        curves: to be fitted.
        start: parameters.
        where: in their usual ranges, from −1 to 1, parameters stay that the curves leave open.
    """
    weights = [np.sqrt(np.full(len(curve.losses), curve.weight / len(curve.losses))) for curve in curves]
    for weight in weights:
        weight[-1] *= math.sqrt(LAST)
    bounds = [np.where(LOGARITHMIC, np.log(np.maximum(ends, 1e-300)), ends) for ends in (LOWEST, HIGHEST)]
    bounds[1][0] = min(float(curve.losses.min()) for curve in curves)

    middle, half = np.log(USUAL).mean(axis=1), np.diff(np.log(USUAL), axis=1)[:, 0] / 2
    middle[0] += math.log(bounds[1][0])

    def parameters(point: np.ndarray) -> np.ndarray:
        return np.where(LOGARITHMIC, np.exp(np.where(LOGARITHMIC, point, 0.0)), point)

    def errors(point: np.ndarray) -> np.ndarray:
        values = parameters(point)
        ratios = [np.maximum(evaluate(values, curve.run) / curve.losses, 1e-3) for curve in curves]
        unusual = FIRM * ((np.log(np.maximum(values, 1e-12)) - middle) / half - where)
        fitting = [np.log(ratio) * weight for ratio, weight in zip(ratios, weights, strict=True)]
        return np.concatenate([*fitting, unusual])

    point = np.where(LOGARITHMIC, np.log(np.maximum(start, 1e-300)), start)
    margin = 1e-9 * np.minimum(1.0, bounds[1] - bounds[0])
    inside = np.clip(point, bounds[0] + margin, bounds[1] - margin)
    found = least_squares(errors, inside, bounds=bounds, loss="huber", f_scale=HUBER, x_scale="jac", max_nfev=200)
    return parameters(found.x), float(found.cost)
