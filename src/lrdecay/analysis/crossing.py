"""Whether different groups are best at different values of a key."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

from lrdecay.analysis.groups import Group, buckets, rename
from lrdecay.analysis.question import Finding, Judged, Question, Rule, most_of
from lrdecay.analysis.settings import setting
from lrdecay.analysis.tuning import monitored, validates
from lrdecay.errors import ConfigError
from lrdecay.text import brief


def crossing(key: str, groups: list[Group], ranking: list[Group], notes: list[str]) -> tuple[list[Question], Rule]:
    """Whether the group that validates best at one value of a key differs from the best at another value.

    Args:
        key: of the configuration.
        groups: that judge.
        ranking: the same with the runs by which it is seen which is best; where seeds chose, with theirs, so that what
            is then said of the best was not selected for.
        notes: to be added to.
    """
    shapes, ranks = _by_value(groups, key), _by_value(ranking, key)
    values = list(next(iter(shapes.values())))
    metric, measure = monitored(groups), groups[0].metrics.leading[0]
    ranked = {v: sorted(shapes, key=lambda name: validates(ranks[name][v], metric), reverse=True) for v in values}
    notes += [f"{key}={value}: {ranked[value][0]} validates best" for value in values]

    def question(value: str, name: str, rival: str) -> Question:
        winner, other = shapes[name][value], shapes[rival][value]
        return Question(winner, other, measure, winner.by_seed(measure, {}), other.by_seed(measure, {}))

    if len({ranked[value][0] for value in values}) == 1:
        return [question(value, *ranked[value][:2]) for value in values], _of_one
    pairs = [
        question(value, ranked[value][0], ranked[other][0])
        for one, two in itertools.combinations(values, 2)
        for value, other in ((one, two), (two, one))
        if ranked[one][0] != ranked[two][0]
    ]
    return pairs, _of_pairs


def _by_value(groups: list[Group], key: str) -> dict[str, dict[str, Group]]:
    """For each group without the key, those with each of its values, as they are written, which must all be there."""
    alike = buckets(groups, [key, *groups[0].tuned])
    named = rename([same[0] for same in alike], without=[key, *groups[0].tuned])
    found = [sorted(((setting(g.runs[0], key), g) for g in same), key=lambda pair: _order(pair[0])) for same in alike]
    shapes = {one.label: {brief(v): g for v, g in same} for one, same in zip(named, found, strict=True)}
    values = list(dict.fromkeys(value for shape in shapes.values() for value in shape))
    if len(shapes) < 2 or len(values) < 2 or any(value is None for same in found for value, _ in same):
        raise ConfigError(f"crossing={key}: must be a key with two values, for two groups")
    for name, value in itertools.product(shapes, values):
        if value not in shapes[name] or not shapes[name][value].completed:
            raise ConfigError(f"crossing={key}: {name} must have completed runs at {value} too")
    return shapes


def _order(value: Any) -> tuple[float, str]:
    """Numbers in their order come before all else in that of its text."""
    return (value, "") if isinstance(value, int | float) else (math.inf, str(value))


def _of_pairs(findings: Sequence[Finding]) -> Judged:
    """Of two groups that are best at one value each, is each the better there?"""
    pairs = list(zip(findings[::2], findings[1::2], strict=True))
    if any({one.word, two.word} == {"supported"} for one, two in pairs):
        return "supported", None
    possible = [pair for pair in pairs if "refuted" not in {finding.word for finding in pair}]
    known = [
        most for pair in possible if (most := most_of([f.seeds for f in pair if f.word == "inconclusive"])) is not None
    ]
    return "inconclusive", min(known, default=None)


def _of_one(findings: Sequence[Finding]) -> Judged:
    """Is the group that validates best everywhere also better than the next everywhere?"""
    if {finding.word for finding in findings} == {"supported"}:
        return "refuted", None
    return "inconclusive", most_of([finding.seeds for finding in findings if finding.word == "inconclusive"])
