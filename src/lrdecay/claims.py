"""Claims: what somebody says of schedules, as a file with the runs that test it."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf

from lrdecay.configuration import compose_all
from lrdecay.errors import ConfigError, shortened
from lrdecay.measures import MEASURES
from lrdecay.record import is_of

Expectation = Literal["better", "worse", "not worse", "same"]
WORKING_VALUES = "working values"
"""The measure of a claim with ``range_over``."""


@dataclass(frozen=True)
class Part:
    """Groups that are expected to be better, worse, not worse by a margin, or the same within it, than the baseline.

    With ``range_over`` the only measure is `WORKING_VALUES`.
    """

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
        own: folder of the sweep of its own file.
        folders: of the sweeps whose runs count: those that the file names under ``sweeps``, or its own.
        overrides: under which its runs are made and judged.
        baseline: the group that the others are compared with.
        parts: what is expected. The claim is supported if all of them are, and refuted if one of them is.
        tuned_over: a key of which each group has its own best value.
        range_over: a key of which those values are counted, for each group and seed, whose test accuracy is within
            `tolerance` of the best mean of all groups.
        crossing: a key for whose values different groups are said to be best, instead of parts. The claim is supported
            if of two that validate best each is better than the other where it is best.
    """

    name: str
    says: str
    source: str
    supported: str
    refuted: str
    own: Path
    folders: list[Path]
    overrides: list[str] = field(default_factory=list)
    baseline: str | None = None
    parts: list[Part] = field(default_factory=list)
    tuned_over: str | None = None
    range_over: str | None = None
    tolerance: float = 0.0
    crossing: str | None = None


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
    configs = compose_all(conf, [f"experiment=claims/{name}", *overrides])
    if len(configs) != 1:
        raise ConfigError(f"claim {name}: its overrides must have one value each")
    config = configs[0][1]
    where = f"experiment/claims/{name}.yaml: claim"
    values = OmegaConf.to_container(config.claim) if isinstance(config.claim, DictConfig) else None
    _check_fields(values, Claim, where, {"name", "own", "folders", "overrides"}, {"sweeps": list[str]})
    assert isinstance(values, dict)
    for part in values.get("parts", []):
        _check_fields(part, Part, f"{where}.parts")
    folder = Path(config.output_dir, "sweeps")
    claim = Claim(
        **{str(key): value for key, value in values.items() if key not in ("parts", "sweeps")},
        name=name,
        own=folder / str(config.name),
        folders=[folder / one for one in values.get("sweeps") or [str(config.name)]],
        overrides=list(overrides),
        parts=[Part(**part) for part in values.get("parts", [])],
    )
    _check(claim, where)
    return claim


def _check_fields(
    values: Any, kind: Any, where: str, ours: Collection[str] = (), more: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """Refuses what has not the fields of a dataclass, and their types.

    Args:
        ours: fields that a file cannot give.
        more: other keys that it can, with their types.
    """
    hints = {key: hint for key, hint in get_type_hints(kind).items() if key not in ours} | dict(more)
    hints |= {"parts": list[dict[str, Any]]} if "parts" in hints else {}
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: must be a mapping")
    fields = {f.name: f for f in dataclasses.fields(kind) if f.name not in ours}
    for key in sorted(fields.keys() - values.keys()):
        if fields[key].default is fields[key].default_factory is dataclasses.MISSING:
            raise ConfigError(f"{where}.{key}: must be given")
    for key, value in values.items():
        if key not in hints:
            raise ConfigError(f"{where}.{key}: must be one of {', '.join(sorted(hints))}")
        if not is_of(value, hints[key]) or value == []:
            raise ConfigError(f"{where}.{key}={shortened(value)}: must be {_words(hints[key])}")


def _words(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return f"one of {', '.join(get_args(hint))}"
    kinds = {str: "a text", float: "a number", list[str]: "a list of texts", list[dict[str, Any]]: "a list of mappings"}
    return kinds.get(hint, "a text or null")


def _check(claim: Claim, where: str) -> None:
    measures = [WORKING_VALUES] if claim.range_over else list(MEASURES)
    for part in claim.parts:
        for measure in part.measures:
            if measure not in measures:
                raise ConfigError(f"{where}.parts.measures={measure}: must be one of {', '.join(measures)}")
        if part.margin < 0 or (part.expect in ("not worse", "same")) != (part.margin > 0):
            raise ConfigError(f"{where}.parts.margin={part.margin}: must be above 0 with not worse and same, else 0")
    if (claim.baseline is None) == bool(claim.parts) or bool(claim.parts) == bool(claim.crossing):
        raise ConfigError(f"{where}: must have parts and their baseline, or crossing")
    if claim.range_over and (claim.tuned_over or claim.crossing):
        raise ConfigError(f"{where}.range_over={claim.range_over}: must be without tuned_over and crossing")
