"""Claims: what somebody says of schedules, as a file with the runs that test it, and the verdict on their records."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from omegaconf import DictConfig, OmegaConf

from lrdecay.compare import Group, baseline_targets, group, matching, seed, tune, validates
from lrdecay.configuration import compose_all
from lrdecay.errors import ConfigError, is_number
from lrdecay.inference import LEVEL, Difference, difference
from lrdecay.measures import MEASURES, Measure
from lrdecay.record import Record

Word = Literal["supported", "refuted", "inconclusive"]
Expectation = Literal["better", "worse", "not worse", "same"]
WORKING = Measure("range", "higher", "values", "base rates that work", lambda run, targets: math.nan)


@dataclass(frozen=True)
class Part:
    """Groups that are expected to be better, worse, not worse by a margin, or the same within it, than the baseline."""

    groups: list[str]
    measures: list[str]
    expect: Expectation
    margin: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim, as ``conf/experiment/claims/NAME.yaml`` has it under ``claim``.

    Attributes:
        says: in a sentence.
        source: who says it.
        supported, refuted: in words, what would make it so; what is neither is inconclusive.
        sweeps: names of the sweeps whose runs count, that of its own file by default.
        baseline: the group that the others are compared with.
        parts: what is expected. The claim is supported if all of them are, and refuted if one of them is.
        tuned_over: a key of which each group has its own best value.
        range_over: a key of which those values are counted, for each group and seed, whose test accuracy is within
            `tolerance` of the best mean of all groups.
        crossing: a key for whose values different groups are said to be best, instead of parts.
    """

    name: str
    says: str
    source: str
    supported: str
    refuted: str
    folders: list[Path]
    baseline: str | None = None
    parts: list[Part] = field(default_factory=list)
    tuned_over: str | None = None
    range_over: str | None = None
    tolerance: float = 0.0
    crossing: str | None = None


@dataclass(frozen=True)
class Finding:
    """One comparison that a claim rests on: the difference of a group from another, as a gain, and what it shows."""

    group: str
    baseline: str
    measure: str
    expect: Expectation
    margin: float
    found: Difference
    word: Word
    why: str = ""

    @property
    def kind(self) -> Measure:
        """How its measure is written and read."""
        return MEASURES.get(self.measure) or WORKING


@dataclass(frozen=True)
class Verdict:
    """What the runs say of a claim.

    Attributes:
        level: confidence of each finding's interval, such that all together have 95%.
        runs: the records that it comes from.
    """

    claim: Claim
    word: Word
    findings: list[Finding]
    level: float
    notes: list[str]
    runs: list[Record]


def names(conf: Path) -> list[str]:
    """The claims that there are."""
    return sorted(path.stem for path in (conf / "experiment/claims").glob("*.yaml"))


def read_claim(conf: Path, name: str, overrides: Sequence[str] = ()) -> Claim:
    """The claim of ``conf/experiment/claims/NAME.yaml``.

    Args:
        conf: the folder of ``config.yaml``.
        name: of the file.
        overrides: for its runs, as on the command line.

    Raises:
        ConfigError: there is none, or what it says is not a claim.
    """
    if name not in names(conf):
        raise ConfigError(f"claim {name}: must be one of {', '.join(names(conf))}")
    ((_, config),) = compose_all(conf, [f"experiment=claims/{name}", *overrides])
    where = f"experiment/claims/{name}.yaml: claim"
    values = OmegaConf.to_container(config.claim) if isinstance(config.claim, DictConfig) else None
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: must be a mapping")
    own = {str(key): value for key, value in values.items()}
    folder = Path(config.output_dir, "sweeps")
    # Other names of the sweeps, given on the command line, are those of all.
    own["folders"] = [folder / str(one) for one in own.pop("sweeps", [config.name])]
    own["parts"] = [_made(Part, part, f"{where}.parts") for part in own.get("parts", [])]
    claim = _made(Claim, own | {"name": name}, where)
    _check(claim, where)
    return claim


def _made(kind: Any, values: Any, where: str) -> Any:
    fields = dataclasses.fields(kind)
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: must be mappings")
    known = {f.name for f in fields}
    needed = {f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING}
    for key in sorted(needed - values.keys()):
        raise ConfigError(f"{where}.{key}: must be given")
    for key in sorted(values.keys() - known):
        raise ConfigError(f"{where}.{key}: must be one of {', '.join(sorted(known - {'name', 'folders'}))}")
    return kind(**values)


def _check(claim: Claim, where: str) -> None:
    for part in claim.parts:
        for measure in part.measures:
            if measure not in MEASURES and not (claim.range_over and measure == "working values"):
                raise ConfigError(f"{where}.parts.measures={measure}: must be one of {', '.join(MEASURES)}")
        if part.expect not in get_args(Expectation):
            raise ConfigError(f"{where}.parts.expect={part.expect}: must be one of {', '.join(get_args(Expectation))}")
        if not is_number(part.margin) or part.margin < 0 or (part.expect in ("not worse", "same")) != (part.margin > 0):
            raise ConfigError(f"{where}.parts.margin={part.margin}: must be above 0 with not worse and same, else 0")
    if (claim.baseline is None) == bool(claim.parts) or bool(claim.parts) == bool(claim.crossing):
        raise ConfigError(f"{where}: must have parts and their baseline, or crossing")


def judge(claim: Claim, records: Sequence[Record]) -> Verdict:
    """What the runs say of the claim.

    Raises:
        ConfigError: they are of several data sets, or a group or key of the claim is not among them.
    """
    by_data = group(records)
    if len(by_data) != 1:
        raise ConfigError(f"claim {claim.name}: its runs must be of one data set, not {', '.join(by_data) or 'none'}")
    (groups,) = by_data.values()
    notes = [f"{g.label}: {g.counts()} completed" for g in groups if len(g.completed) < len(g.runs)]
    if claim.crossing:
        findings, level = _crossing(claim, groups, notes)
    else:
        findings, level = _parts(claim, groups, notes)
    words = {finding.word for finding in findings}
    word: Word = "refuted" if "refuted" in words else "supported" if words == {"supported"} else "inconclusive"
    return Verdict(claim, word, findings, level, notes, list(records))


def _parts(claim: Claim, groups: list[Group], notes: list[str]) -> tuple[list[Finding], float]:
    pairs = [(part, name, measure) for part in claim.parts for name in part.groups for measure in part.measures]
    level = 1 - (1 - LEVEL) / len(pairs)
    if claim.tuned_over:
        groups, found = tune(groups, [claim.tuned_over])
        notes += found
    if claim.range_over:
        groups, working = _working(groups, claim.range_over, claim.tolerance)
    baseline = _one(claim, groups, str(claim.baseline))
    findings = []
    for part, name, measure in pairs:
        g = _one(claim, groups, name)
        if claim.range_over:
            sides = working[g.label], working[baseline.label]
        else:
            targets = baseline_targets(baseline)
            sides = g.by_seed(measure, targets), baseline.by_seed(measure, targets)
        findings.append(_finding(g, baseline, part, measure, sides, level))
    return findings, level


def _one(claim: Claim, groups: Sequence[Group], name: str) -> Group:
    found = matching(groups, name)
    if len(found) != 1:
        labels = ", ".join(g.label for g in groups)
        raise ConfigError(f"claim {claim.name}: {name} must be one of its groups, which are {labels}")
    return found[0]


def _finding(
    g: Group,
    baseline: Group,
    part: Part,
    measure: str,
    sides: tuple[Mapping[int, float], Mapping[int, float]],
    level: float,
) -> Finding:
    found = difference(*sides, level)
    if (MEASURES.get(measure) or WORKING).better == "lower":
        found = dataclasses.replace(found, mean=-found.mean, low=-found.high, high=-found.low)
    word, why = _word(part, found, level), ""
    if g.diverged and not g.completed:
        word, why = ("supported" if part.expect == "worse" else "refuted"), "all of its runs diverged"
    return Finding(g.name, baseline.name, measure, part.expect, part.margin, found, word, why)


def _word(part: Part, gain: Difference, level: float) -> Word:
    """What an interval of the gain says of the expectation."""
    if not math.isfinite(gain.low):
        return "inconclusive"
    least, most = {
        "better": (0.0, math.inf),
        "worse": (-math.inf, 0.0),
        "not worse": (-part.margin, math.inf),
        "same": (-part.margin, part.margin),
    }[part.expect]
    # An interval without width is no evidence of a difference by itself: see `difference`.
    if part.margin == 0 and not gain.p < 1 - level:
        return "inconclusive"
    if least < gain.low and gain.high < most:
        return "supported"
    return "refuted" if gain.high < least or gain.low > most else "inconclusive"


def _working(groups: Sequence[Group], key: str, tolerance: float) -> tuple[list[Group], dict[str, dict[int, float]]]:
    """Groups without the key, and for each seed how many of its values come near to the best of all groups."""
    best = max((float(np.mean(g.final("test/acc"))) for g in groups if g.completed), default=math.nan)
    chosen, _ = tune(groups, [key])
    counts: dict[str, dict[int, float]] = {}
    for one in chosen:
        same = [g for g in groups if {k: v for k, v in g.differs.items() if k != key} == one.differs]
        counts[one.label] = {}
        for run in [run for g in same for run in g.runs if run.status in ("completed", "diverged")]:
            works = (run.final.get("test/acc") or 0.0) >= best - tolerance
            counts[one.label][seed(run)] = counts[one.label].get(seed(run), 0.0) + works
    return [dataclasses.replace(one, tuned={}) for one in chosen], counts


def _crossing(claim: Claim, groups: list[Group], notes: list[str]) -> tuple[list[Finding], float]:
    """Whether the group that validates best at one value of a key is another than at another value."""
    key = str(claim.crossing)
    level = 1 - (1 - LEVEL) / 2
    if claim.tuned_over:
        groups, found = tune(groups, [claim.tuned_over])
        notes += found
    at: dict[Any, dict[str, Group]] = {}
    for g in groups:
        rest = " ".join(str(value) for other, value in g.differs.items() if other != key)
        at.setdefault(g.differs.get(key), {})[rest] = g
    values = sorted(at)
    winners = {value: max(at[value], key=lambda name: validates(at[value][name])) for value in values}
    notes += [f"{key}={value}: {winners[value]} validates best" for value in values]
    part = Part([], ["test/acc"], "better")
    first = winners[values[0]]
    others = [value for value in reversed(values) if winners[value] != first]
    if not others:
        seconds = {value: max(at[value].keys() - {first}, key=lambda n: validates(at[value][n])) for value in values}
        findings = [_at(at[value][first], at[value][seconds[value]], part, level) for value in values]
        return [
            dataclasses.replace(f, word="refuted", why=f"{first} validates best everywhere") for f in findings
        ], level
    last = others[0]
    return [
        _at(at[values[0]][first], at[values[0]][winners[last]], part, level),
        _at(at[last][winners[last]], at[last][first], part, level),
    ], level


def _at(winner: Group, rival: Group, part: Part, level: float) -> Finding:
    sides = winner.by_seed("test/acc", {}), rival.by_seed("test/acc", {})
    return _finding(winner, rival, part, "test/acc", sides, level)
