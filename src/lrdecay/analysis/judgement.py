"""The verdict on a claim, from the records of its runs."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from lrdecay.analysis.claim import WORKING_VALUES, Claim, Expectation
from lrdecay.analysis.comparison import baseline_targets
from lrdecay.analysis.groups import Group, buckets, group_records, matching, rename, seed, setting
from lrdecay.analysis.inference import LEVEL, Difference, difference
from lrdecay.analysis.looks import look
from lrdecay.analysis.measures import MEASURES, Measure
from lrdecay.analysis.power import seeds_to_decide
from lrdecay.analysis.sampling import items_by_seed, sampling
from lrdecay.analysis.tuning import monitored, tune, tune_apart, validates
from lrdecay.analysis.working import Works, counts, uneven, working
from lrdecay.errors import ConfigError
from lrdecay.records.record import Record
from lrdecay.text import listed

Word = Literal["supported", "refuted", "mixed", "inconclusive"]
BySeed = Mapping[int, float]
WORKING = Measure("range", "higher", "values", "values that work", lambda run, targets: math.nan)


@dataclass(frozen=True)
class Finding:
    """One comparison that a claim rests on.

    Attributes:
        found: the difference of the group from its baseline as a gain, positive where it is to the better.
        word: what it says of the expectation.
        why: what decided it, where that was not the interval.
        seeds: how many would decide what is inconclusive, see `seeds_to_decide`.
    """

    group: str
    baseline: str
    measure: str
    expect: Expectation
    margin: float
    found: Difference
    word: Word
    why: str = ""
    seeds: int | None = None

    @property
    def kind(self) -> Measure:
        """How its measure is written and read."""
        return MEASURES.get(self.measure) or WORKING


@dataclass(frozen=True)
class Verdict:
    """What the runs say of a claim.

    Attributes:
        holds: what is said of each part that must hold, in the order of the claim: a description, and the word.
        level: confidence of each finding's interval, chosen so that all of them hold together with 95%.
        runs: the records that it comes from.
    """

    claim: Claim
    word: Word
    findings: list[Finding]
    holds: list[tuple[str, Word]]
    level: float
    notes: list[str]
    runs: list[Record]


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

    def answer(self, level: float) -> Finding:
        """The finding, with an interval of that confidence."""
        drawn = sampling(self.group, self.baseline, self.measure, items_by_seed) if self.measure in MEASURES else None
        gain = difference(self.values, self.others, level, drawn)
        if (MEASURES.get(self.measure) or WORKING).better == "lower":
            gain = replace(gain, mean=-gain.mean, low=-gain.high, high=-gain.low)
        word, why = self._by_divergence() or self._by_interval(gain)
        names = self.group.name, self.baseline.name
        is_open = word == "inconclusive" and not why
        gap = min(abs(gain.mean - bound) for bound in self._bounds() if math.isfinite(bound))
        seeds = seeds_to_decide(gain, 1 - level, gap) if is_open else None
        return Finding(*names, self.measure, self.expect, self.margin, gain, word, why, seeds)

    def _bounds(self) -> tuple[float, float]:
        """Between which the gain must lie, for the expectation to hold."""
        return {
            "better": (0.0, math.inf),
            "worse": (-math.inf, 0.0),
            "not worse": (-self.margin, math.inf),
            "same": (-self.margin, self.margin),
        }[self.expect]

    def _by_divergence(self) -> tuple[Word, str] | None:
        """What it is worth that only one of the two could be trained at all."""
        lost = [g for g in (self.group, self.baseline) if all(run.outcome.status == "diverged" for run in g.runs)]
        if self.measure == WORKING_VALUES or len(lost) != 1 or not (self.group.completed or self.baseline.completed):
            return None
        expected = self.expect == "worse" if lost[0] is self.group else self.expect in ("better", "not worse")
        return "supported" if expected else "refuted", f"all runs of {lost[0].name} diverged"

    def _by_interval(self, gain: Difference) -> tuple[Word, str]:
        if not math.isfinite(gain.low):
            return "inconclusive", "no spread between pairs" if gain.n > 1 else "fewer than two seeds in common"
        for g in (self.group, self.baseline):
            lost = sum(run.outcome.status == "diverged" for run in g.runs)
            if lost and self.measure != WORKING_VALUES:
                return "inconclusive", f"{lost} of {len(g.runs)} runs of {g.name} diverged"
        least, most = self._bounds()
        if least < gain.low and gain.high < most:
            return "supported", ""
        return ("refuted" if gain.high < least or gain.low > most else "inconclusive"), ""


Units = list[list[int]]
"""Findings, by index, that belong together: where any of them is as expected, that part of the claim holds."""
Rule = Callable[[Sequence[Finding]], Word]


def judge(claim: Claim, records: Sequence[Record]) -> Verdict:
    """What the runs say of the claim.

    Raises:
        ConfigError: they are of several data sets, or a group or key of the claim is not among them.
    """
    seeds, share = look([seed(run) for run in records if seed(run) not in claim.tuned_by], claim.looks)
    records = [run for run in records if seed(run) in (*seeds, *claim.tuned_by)]
    by_data = group_records(records)
    if len(by_data) != 1:
        raise ConfigError(f"its runs must be of one data set, not {', '.join(by_data) or 'none'}")
    (groups,) = by_data.values()
    notes = [f"{g.label}: {g.counts()} completed" for g in groups if len(g.completed) < len(g.runs)]
    if claim.tuned_over:
        groups, found = _tuned(groups, claim.tuned_over, claim.tuned_by)
        notes += found
    if claim.looks:
        notes.append(_looked(len(seeds), claim.looks))
    units: Units = []
    if claim.crossing:
        questions, rule = _crossing(claim, groups, notes)
    else:
        questions, units = _parts(claim, groups, notes)
        rule = partial(_of_parts, units=units)
    # Which is best at one value of a key may be asked against the same rival for several others.
    level = 1 - share * (1 - LEVEL) / len({(q.group.label, q.baseline.label, q.measure) for q in questions})
    findings = [question.answer(level) for question in questions]
    holds = [(_described([findings[index] for index in unit]), _of_unit(findings, unit)) for unit in units]
    return Verdict(claim, rule(findings), list(dict.fromkeys(findings)), holds, level, notes, list(records))


def _described(findings: Sequence[Finding]) -> str:
    return f"{findings[0].group} in {' or '.join(finding.measure for finding in findings)}"


def _tuned(groups: list[Group], key: str, by: Sequence[int]) -> tuple[list[Group], list[str]]:
    if not by:
        return tune(groups, [key])
    chosen, notes = tune_apart(groups, key, by)
    if missing := [g.name for g in chosen if not g.runs]:
        raise ConfigError(f"no runs of {listed(missing)} with other seeds than the {len(by)} that chose")
    return chosen, [f"{notes[0]}; seeds {listed(list(map(str, by)))} chose, and do not judge", *notes[1:]]


def _looked(seeds: int, looks: Sequence[int]) -> str:
    later = [count for count in looks if count > seeds]
    after = f"; the next look is at {later[0]}" if later else "; there is no other look"
    return f"judged by {seeds} seeds, of looks at {', '.join(map(str, looks))}{after}"


def _parts(claim: Claim, groups: list[Group], notes: list[str]) -> tuple[list[Question], Units]:
    works: dict[str, Works] = {}
    if claim.range_over:
        groups, works = working(groups, claim.range_over, claim.tolerance)
    baseline = _one(groups, str(claim.baseline))
    targets = baseline_targets(baseline)
    questions: list[Question] = []
    units: Units = []
    for part in claim.parts:
        for g, measure in itertools.product([_one(groups, name) for name in part.groups], part.measures):
            if not part.any or measure == part.measures[0]:
                units.append([])
            units[-1].append(len(questions))
            if claim.range_over:
                sides = counts(works[g.label], works[baseline.label])
                notes += uneven(g, baseline, works)
            else:
                sides = g.by_seed(measure, targets), baseline.by_seed(measure, targets)
            questions.append(Question(g, baseline, measure, *sides, part.expect, part.margin))
    return questions, units


def _one(groups: Sequence[Group], name: str) -> Group:
    found = matching(groups, name)
    if len(found) != 1:
        raise ConfigError(f"{name} must be one of its groups, which are {listed([g.label for g in groups])}")
    return found[0]


def _crossing(claim: Claim, groups: list[Group], notes: list[str]) -> tuple[list[Question], Rule]:
    """Whether the group that validates best at one value of a key differs from the best at another value."""
    key = str(claim.crossing)
    shapes = _by_value(groups, key)
    values = sorted(next(iter(shapes.values())))
    metric = monitored(groups)
    ranked = {v: sorted(shapes, key=lambda name: validates(shapes[name][v], metric), reverse=True) for v in values}
    notes += [f"{key}={value}: {ranked[value][0]} validates best" for value in values]

    def question(value: Any, name: str, rival: str) -> Question:
        winner, other = shapes[name][value], shapes[rival][value]
        return Question(winner, other, "test/acc", winner.by_seed("test/acc", {}), other.by_seed("test/acc", {}))

    if len({ranked[value][0] for value in values}) == 1:
        return [question(value, *ranked[value][:2]) for value in values], _of_one
    pairs = [
        question(value, ranked[value][0], ranked[other][0])
        for one, two in itertools.combinations(values, 2)
        for value, other in ((one, two), (two, one))
        if ranked[one][0] != ranked[two][0]
    ]
    return pairs, _of_pairs


def _by_value(groups: list[Group], key: str) -> dict[str, dict[Any, Group]]:
    """For each group without the key, those with each of its values, which must all be there."""
    alike = buckets(groups, [key, *groups[0].tuned])
    named = rename([same[0] for same in alike], without=[key, *groups[0].tuned])
    shapes = {one.label: {setting(g.runs[0], key): g for g in same} for one, same in zip(named, alike, strict=True)}
    values = {value for shape in shapes.values() for value in shape}
    if len(shapes) < 2 or len(values) < 2 or None in values:
        raise ConfigError(f"crossing={key}: must be a key with two values, for two groups")
    for name, value in itertools.product(shapes, sorted(values)):
        if value not in shapes[name] or not shapes[name][value].completed:
            raise ConfigError(f"crossing={key}: {name} must have completed runs at {value} too")
    return shapes


def _of_unit(findings: Sequence[Finding], unit: Sequence[int]) -> Word:
    """Of alternatives one is enough, and all must be refuted."""
    words = {findings[index].word for index in unit}
    return "supported" if "supported" in words else "refuted" if words == {"refuted"} else "inconclusive"


def _of_parts(findings: Sequence[Finding], units: Units) -> Word:
    """All supported, some refuted, or both: then it holds for some of what it says, and not for some."""
    words = {_of_unit(findings, unit) for unit in units}
    if {"supported", "refuted"} <= words:
        return "mixed"
    return "refuted" if "refuted" in words else "supported" if words == {"supported"} else "inconclusive"


def _of_pairs(findings: Sequence[Finding]) -> Word:
    """Of two groups that are best at one value each, is each the better there?"""
    pairs = zip(findings[::2], findings[1::2], strict=True)
    return "supported" if any({one.word, two.word} == {"supported"} for one, two in pairs) else "inconclusive"


def _of_one(findings: Sequence[Finding]) -> Word:
    """Is the group that validates best everywhere also better than the next everywhere?"""
    return "refuted" if {finding.word for finding in findings} == {"supported"} else "inconclusive"
