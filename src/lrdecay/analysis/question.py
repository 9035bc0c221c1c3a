"""One comparison that a claim rests on: what is asked, and what the runs answer."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from lrdecay.analysis.claim import RANK_CORRELATION, WORKING_VALUES, Expectation
from lrdecay.analysis.groups import Group
from lrdecay.analysis.inference import Difference, difference
from lrdecay.analysis.measures import MEASURES, Measure, measures_of
from lrdecay.analysis.power import MOST_SEEDS, seeds_to_decide
from lrdecay.analysis.sampling import items_by_seed, sampling
from lrdecay.analysis.settings import seed
from lrdecay.analysis.working import BySeed

Word = Literal["supported", "refuted", "mixed", "inconclusive"]
Alpha = Callable[[int], float]
"""The probability of being wrong that may be spent on a comparison judged by so many seeds."""
OF_GROUPS = {
    WORKING_VALUES: Measure("range", "higher", "values", "values that work", lambda run, targets: math.nan),
    RANK_CORRELATION: Measure("order", "higher", "correlation", "Spearman's ρ", lambda run, targets: math.nan),
}
"""Measures that no single run has."""


def measure_of(name: str, group: Group | None = None) -> Measure:
    """Of a claim: one that each run has, or that groups have; without a group, of a gain that is written down."""
    if name in OF_GROUPS:
        return OF_GROUPS[name]
    if group is not None:
        return measures_of(group.metrics)[name]
    # The metrics that somebody's module declares are numbers, and a gain has a direction of its own.
    return MEASURES.get(name) or Measure(name, "higher", "number", name, lambda run, targets: math.nan)


@dataclass(frozen=True)
class Finding:
    """What a comparison showed.

    Attributes:
        found: the difference of the group from its baseline as a gain, positive where it is to the better.
        word: what it says of the expectation.
        why: what decided it or left it open, where that was not the interval.
        seeds: how many would decide what is inconclusive, infinity for more than `MOST_SEEDS`; ``None`` where that is
            not known.
    """

    group: str
    baseline: str
    measure: str
    expect: Expectation
    margin: float
    found: Difference
    word: Word
    why: str = ""
    seeds: float | None = None

    @property
    def kind(self) -> Measure:
        """How its measure is written and read."""
        return measure_of(self.measure)


Answer = tuple[Word, str, float | None]
"""Word, why and seeds of a `Finding`."""


Judged = tuple[Word, float | None]
"""A word, and the seeds that would decide what is inconclusive, where that is known."""
Rule = Callable[[Sequence[Finding]], Judged]


@dataclass(frozen=True)
class Question:
    """Whether a group does what is expected of it against another, given a number for each seed of both."""

    group: Group
    baseline: Group
    measure: str
    values: BySeed
    others: BySeed
    expect: Expectation = "better"
    margin: float = 0.0

    def answer(self, level: float, alpha: Alpha) -> Finding:
        """The finding.

        Args:
            level: confidence of its interval.
            alpha: what 1 − level is and would be with more seeds.
        """
        of_runs = self.measure not in OF_GROUPS
        drawn = sampling(self.group, self.baseline, self.measure, items_by_seed) if of_runs else None
        gain = difference(self.values, self.others, level, drawn)
        if measure_of(self.measure, self.group).better == "lower":
            gain = replace(gain, mean=-gain.mean, low=-gain.high, high=-gain.low)
        answer = self._by_divergence(alpha) or self._by_what_is_missing()
        answer = answer or self._by_sign(gain, alpha) or self._by_interval(gain, alpha)
        return Finding(self.group.name, self.baseline.name, self.measure, self.expect, self.margin, gain, *answer)

    def _bounds(self) -> tuple[float, float]:
        """Between which the gain must lie, for the expectation to hold."""
        return {
            "better": (0.0, math.inf),
            "worse": (-math.inf, 0.0),
            "not worse": (-self.margin, math.inf),
            "same": (-self.margin, self.margin),
        }[self.expect]

    def _contrary(self) -> tuple[float, float]:
        """Below the one or above the other the gain refutes the expectation: one to the better, by less than matters
        too."""
        return {"better": (self.margin, math.inf), "worse": (-math.inf, -self.margin)}.get(self.expect, self._bounds())

    def _by_divergence(self, alpha: Alpha) -> Answer | None:
        """What it is worth that runs of the two diverged.

        Where some did, the others are a selection that says nothing of the whole. Where all of one side did and none of
        the other, each seed is a pair of which it is known which is the better, and the sign test counts them.
        """
        if self.measure == WORKING_VALUES:
            return None
        sides = (self.group, self.baseline)
        for g in sides:
            if 0 < len(g.diverged) < len(g.runs):
                return "inconclusive", f"{len(g.diverged)} of {len(g.runs)} runs of {g.name} diverged", None
        fallen = [g for g in sides if g.diverged]
        if not fallen:
            return None
        if len(fallen) == 2:
            return "inconclusive", f"all runs of {fallen[0].name} and of {fallen[1].name} diverged", None
        (worse,) = fallen
        if worse.completed:  # under on_divergence=continue
            went_on = f"{len(worse.completed)} of {len(worse.runs)} runs of {worse.name} diverged and continued"
            return "inconclusive", went_on, None
        expected = self.expect == "worse" if worse is self.group else self.expect in ("better", "not worse")
        completed = self.others if worse is self.group else self.values
        pairs = len(completed.keys() & {seed(run) for run in worse.diverged})
        return _of_signs(expected, pairs, f"all runs of {worse.name} diverged", alpha)

    def _by_what_is_missing(self) -> Answer | None:
        """Runs without a finite value are no random sample: a loss that overflowed is the worst that there is."""
        for g, values in ((self.group, self.values), (self.baseline, self.others)):
            lost = sum(not math.isfinite(value) for value in values.values())
            if 0 < lost < len(values):
                return "inconclusive", f"{lost} of {len(values)} runs of {g.name} have no {self.measure}", None
        return None

    def _by_sign(self, gain: Difference, alpha: Alpha) -> Answer | None:
        """What pairs are worth whose differences are all the same, so that they have no spread to be measured by."""
        if math.isfinite(gain.low) or gain.n < 2 or not gain.paired:
            return None
        why = f"the same difference in all {gain.n} pairs" if gain.mean else f"no difference in any of {gain.n} pairs"
        (least, most), (below, above) = self._bounds(), self._contrary()
        # Rounding may have put a difference of exactly a bound on either side of it.
        apart = 1e-12 + 1e-9 * abs(gain.mean)
        if least + apart < gain.mean < most - apart:
            return _of_signs(True, gain.n, why, alpha)
        if gain.mean < below - apart or gain.mean > above + apart:
            return _of_signs(False, gain.n, why, alpha)
        return "inconclusive", f"a difference of exactly the margin in all {gain.n} pairs" if gain.mean else why, None

    def _by_interval(self, gain: Difference, alpha: Alpha) -> Answer:
        if not math.isfinite(gain.low):
            return "inconclusive", "no spread" if gain.n > 1 else "fewer than two seeds in common", None
        least, most = self._bounds()
        below, above = self._contrary()
        if least < gain.low and gain.high < most:
            return "supported", "", None
        if gain.high < below or gain.low > above:
            return "refuted", "", None
        # What more seeds would show, were the gain as it is now: that it lies within both bounds, or beyond one.
        inside = [abs(gain.mean - bound) for bound in (least, most) if math.isfinite(bound)]
        ways = [inside] if least < gain.mean < most else []
        ways += [[gap] for gap in (below - gain.mean, gain.mean - above) if gap > 0]
        seeds = [seeds_to_decide(gain, alpha, gaps) for gaps in ways]
        return "inconclusive", "", None if None in seeds else min(filter(None, seeds), default=math.inf)


def _of_signs(expected: bool, pairs: int, why: str, alpha: Alpha) -> Answer:
    """The two-sided sign test of pairs that all say the same."""

    def decides(n: int) -> bool:
        return 0.5 ** (n - 1) < alpha(n)

    if decides(pairs):
        return "supported" if expected else "refuted", why, None
    more = (n for n in range(pairs + 1, MOST_SEEDS + 1) if decides(n))
    return "inconclusive", f"{why}, too few for a sign test", next(more, math.inf)


def most_of(seeds: Sequence[float | None]) -> float | None:
    """What is enough for all of them, where that is known of all."""
    known = [count for count in seeds if count is not None]
    return max(known) if known and len(known) == len(seeds) else None
