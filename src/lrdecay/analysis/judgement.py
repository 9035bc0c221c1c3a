"""The verdict on a claim, from the records of its runs."""

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from lrdecay.analysis.baselines import baseline_targets
from lrdecay.analysis.claim import Claim
from lrdecay.analysis.crossing import crossing
from lrdecay.analysis.groups import Group, buckets, group_records, matching, rename
from lrdecay.analysis.inference import LEVEL
from lrdecay.analysis.looks import look, share, to_look
from lrdecay.analysis.ordering import ordering
from lrdecay.analysis.question import Finding, Judged, Question, Rule, Word, most_of
from lrdecay.analysis.settings import seed, setting
from lrdecay.analysis.tuning import choose, tune_by_all, with_other_seeds
from lrdecay.analysis.working import Works, counts, uneven, working
from lrdecay.errors import ConfigError
from lrdecay.records.record import Record
from lrdecay.text import listed, plural


@dataclass(frozen=True)
class Effort:
    """What the runs of a verdict took.

    Attributes:
        data: names of the data sets.
        seconds: of training, of all runs together.
        elapsed: seconds from the first beginning to the last end.
        ended: that end, in seconds since 1970.
    """

    runs: int
    seeds: int
    data: list[str]
    seconds: float
    elapsed: float
    devices: list[str]
    ended: float


@dataclass(frozen=True)
class Verdict:
    """What the runs say of a claim.

    Attributes:
        holds: what is said of each part that must hold, in the order of the claim: a description, and the word.
        seeds: how many would decide it, if it is inconclusive, see `Finding`.
        level: confidence of each finding's interval, chosen so that all of them hold together with 95%.
        seeds_judged: those of the look at which it is judged, ``21..40``; empty where it has no looks.
    """

    claim: Claim
    word: Word
    seeds: float | None
    findings: list[Finding]
    holds: list[tuple[str, Word]]
    level: float
    notes: list[str]
    effort: Effort
    seeds_judged: str


Units = list[list[int]]
"""Findings, by index, that belong together: where any of them is as expected, that part of the claim holds."""


def judge(claim: Claim, records: Sequence[Record], planned: Mapping[Path, Collection[int]] = {}) -> Verdict:
    """What the runs say of the claim.

    Args:
        claim: what is to be judged.
        records: of its runs.
        planned: the seeds of its sweeps, by their folders, for a claim without looks: it is judged once, by all of them
            and no others.

    Raises:
        ConfigError: they are of several data sets, a group or key of the claim is not among them, or there are fewer
            seeds than its first look takes, or than its sweeps have.
    """
    notes: list[str] = []
    if not claim.looks:
        records, notes = _as_planned(records, planned)
    groups = choosing = _of_one_data_set(records)
    if claim.tuned_over:
        choosing, groups, found = _tuned(claim, groups)
        notes += found
    if claim.looks:
        groups, found = _at_look(claim, groups)
        notes += found
    else:
        _require_all(claim, groups, planned)
    counted = {seed(run) for g in groups for run in g.runs}
    notes += [f"{g.label}: {g.counts()} completed" for g in groups if len(g.completed) < len(g.runs)]
    units: Units = []
    if claim.bound_orders:
        questions, units = [ordering(groups, claim.bound_orders, notes)], [[0]]
        rule: Rule = partial(_of_parts, units=units)
    elif claim.crossing:
        questions, rule = crossing(str(claim.crossing), groups, choosing if claim.tuned_by else groups, notes)
    else:
        questions, units = _parts(claim, groups, notes)
        rule = partial(_of_parts, units=units)
    # Which is best at one value of a key may be asked against the same rival for several others.
    comparisons = len({(q.group.label, q.baseline.label, q.measure) for q in questions})

    def alpha(seeds: int) -> float:
        return share(seeds, claim.looks) * (1 - LEVEL) / comparisons

    level = 1 - alpha(len(counted))
    answers = [question.answer(level, alpha) for question in questions]
    findings = [replace(found, seeds=to_look(found.seeds, claim.looks)) for found in answers]
    holds = [(_described([findings[index] for index in unit]), _of_unit(findings, unit)[0]) for unit in units]
    word, seeds = rule(findings)
    effort = _effort([run for run in records if seed(run) in counted or seed(run) in claim.tuned_by])
    judged = f"{min(counted)}..{max(counted)}" if claim.looks else ""
    return Verdict(claim, word, seeds, list(dict.fromkeys(findings)), holds, level, notes, effort, judged)


def to_run(claim: Claim, records: Sequence[Record]) -> list[Group]:
    """The groups that are judged, at the values that the seeds of `tuned_by` have chosen: what other seeds are to run.

    Raises:
        ConfigError: the runs are of several data sets, none is of these seeds, or a group of the claim is missing.
    """
    return _about(claim, choose(_of_one_data_set(records), claim.tuned_keys, claim.tuned_by)[0])


def check_groups(claim: Claim, records: Sequence[Record]) -> None:
    """Refuses a claim that names groups which its runs will not have, before they are made.

    Args:
        claim: what is to be judged.
        records: of its runs as they are planned.

    Raises:
        ConfigError: a group is not among them.
    """
    groups = _of_one_data_set(records)
    own = [*claim.tuned_keys, *filter(None, [claim.range_over])]
    for key in [*own, *filter(None, [claim.crossing])]:
        if len({repr(setting(g.runs[0], key)) for g in groups}) < 2:
            raise ConfigError(f"{key}: must be a key that its sweeps vary")
    groups = rename([same[0] for same in buckets(groups, own)], without=own)
    for name in _named(claim):
        _one(groups, name)


def _of_one_data_set(records: Sequence[Record]) -> list[Group]:
    by_data = group_records(records)
    if len(by_data) != 1:
        raise ConfigError(f"its runs must be of one data set, not {', '.join(by_data) or 'none'}")
    (groups,) = by_data.values()
    return groups


def _named(claim: Claim) -> list[str]:
    """The groups that a claim names; none for those that it takes all of."""
    return [str(claim.baseline), *(name for part in claim.parts for name in part.groups)] if claim.parts else []


def _about(claim: Claim, groups: Sequence[Group]) -> list[Group]:
    """Those of the groups that the claim is about: those that it names, or all."""
    labels = {_one(groups, name).label for name in _named(claim)}
    return [g for g in groups if not labels or g.label in labels]


def _effort(runs: Sequence[Record]) -> Effort:
    began, ended = min(run.plan.started for run in runs), max(run.plan.started + run.progress.seconds for run in runs)
    devices = sorted({f"{run.plan.device}, {plural(run.plan.threads, 'thread')}" for run in runs if run.plan.device})
    data = sorted({str(run.plan.data) for run in runs if run.plan.data is not None})
    seconds = sum(run.progress.seconds for run in runs)
    return Effort(len(runs), len({seed(run) for run in runs}), data, seconds, ended - began, devices, ended)


def _at_look(claim: Claim, groups: Sequence[Group]) -> tuple[list[Group], list[str]]:
    """The groups with the runs of those seeds that count at the last look that has been reached.

    A seed has been reached when its runs have come to an end in every group that is judged.
    """
    settled = [seeds for _, seeds in _settled(claim, groups)]
    counted = look(set.intersection(*settled), claim.looks, claim.first_seed)
    later = [count for count in claim.looks if count > len(counted)]
    after = f"the next look is at {later[0]}" if later else "this was the last look"
    notes = [f"judged by seeds {counted[0]} to {counted[-1]}, of looks at {', '.join(map(str, claim.looks))}; {after}"]
    if beyond := {seed(run) for g in groups for run in g.runs} - set(counted):
        notes.append(f"the runs of {plural(len(beyond), 'other seed')} do not count at this look")
    return [replace(g, runs=[run for run in g.runs if seed(run) in counted]) for g in groups], notes


def _as_planned(records: Sequence[Record], planned: Mapping[Path, Collection[int]]) -> tuple[list[Record], list[str]]:
    """The runs of the seeds that their sweeps were to have, and a note on others."""
    kept = [run for run in records if seed(run) in planned.get(run.directory.parent, [seed(run)])]
    beyond = {seed(run) for run in records} - {seed(run) for run in kept}
    notes = [f"the runs of {plural(len(beyond), 'seed')} that its sweeps do not have do not count"] if beyond else []
    return kept, notes


def _require_all(claim: Claim, groups: Sequence[Group], planned: Mapping[Path, Collection[int]]) -> None:
    """Refuses to judge before all seeds are there: who stops where it looks good is misled more often."""
    for g, settled in _settled(claim, groups):
        wanted = {of for run in g.runs for of in planned.get(run.directory.parent, ())}
        if missing := sorted(wanted - settled):
            raise ConfigError(f"{g.name}: seed {missing[0]} is not settled, and it is judged by all seeds of its sweep")


def _settled(claim: Claim, groups: Sequence[Group]) -> list[tuple[Group, set[int]]]:
    """The groups that are judged, and the seeds whose runs have come to an end."""
    judged = groups if claim.range_over else _about(claim, groups)  # which has names for groups without its key
    return [(g, {seed(run) for run in (*g.completed, *g.diverged)}) for g in judged]


def _described(findings: Sequence[Finding]) -> str:
    return f"{findings[0].group} in {' or '.join(finding.measure for finding in findings)}"


def _tuned(claim: Claim, groups: list[Group]) -> tuple[list[Group], list[Group], list[str]]:
    """The groups at their best values with the runs that chose these, the same with those that judge, and notes."""
    keys, by = claim.tuned_keys, claim.tuned_by
    if not by:
        chosen, notes = tune_by_all(groups, keys)
        return chosen, chosen, notes
    chosen, notes = choose(groups, keys, by)
    return chosen, with_other_seeds(_about(claim, chosen), groups, by), notes


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
    if len(found) > 1:
        raise ConfigError(f"{name} must be one of its groups, and fits {listed([g.label for g in found])}")
    if not found:
        raise ConfigError(f"{name} must be one of its groups, which are {listed([g.label for g in groups])}")
    return found[0]


def _of_unit(findings: Sequence[Finding], unit: Sequence[int]) -> Judged:
    """Of alternatives one is enough, and all must be refuted."""
    alternatives = [findings[index] for index in unit]
    words = {finding.word for finding in alternatives}
    if "supported" in words or words == {"refuted"}:
        return "supported" if "supported" in words else "refuted", None
    known = [finding.seeds for finding in alternatives if finding.seeds is not None]
    return "inconclusive", min(known, default=None)


def _of_parts(findings: Sequence[Finding], units: Units) -> Judged:
    """All supported, some refuted, or both: then it holds for some of what it says, and not for some."""
    judged = [_of_unit(findings, unit) for unit in units]
    words = {word for word, _ in judged}
    if "refuted" in words:
        return "mixed" if "supported" in words else "refuted", None
    if words == {"supported"}:
        return "supported", None
    return "inconclusive", most_of([seeds for word, seeds in judged if word == "inconclusive"])
