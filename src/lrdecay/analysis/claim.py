"""Claims: what somebody says of schedules, and which comparison of which runs tests it."""

from pathlib import Path
from typing import Literal

import msgspec

Expectation = Literal["better", "worse", "not worse", "same"]
WORKING_VALUES = "working values"
"""The measure of a claim with ``range_over``."""
COUNTED = "test/acc"
"""What runs at such a value come near to the best of."""
RANK_CORRELATION = "rank correlation"
"""The measure of a claim with ``bound_orders``."""


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Groups that are expected to be better, worse, not worse by a margin, or the same within it, than the baseline.

    With ``better`` and ``worse`` a margin is the smallest difference that matters: one that is surely there supports
    what is expected, and one that is surely less than this refutes it.

    With ``range_over`` the only measure is `WORKING_VALUES`. With ``any`` it is enough for each group that it is so in
    one of the measures: a rate too high oscillates *or* fails to converge.
    """

    groups: list[str]
    measures: list[str]
    expect: Expectation
    margin: float = 0.0
    any: bool = False


class Statement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A claim, as ``conf/experiment/claims/NAME.yaml`` has it under ``claim``.

    Attributes:
        says: in a sentence.
        source: who says it.
        supported, refuted: in words, what would make it so; what is neither is inconclusive.
        baseline: the group that the others are compared with.
        parts: what is expected. The claim is supported if all of them are, refuted if some are and none is supported,
            and mixed if some are and others are supported.
        tuned_over: a key of which each group has its own best value, or several.
        tuned_by: the seeds by which it is chosen, if others are to judge; then only the chosen value is run with those.
        range_over: a key of which those values are counted, for each group and seed, whose test accuracy is within
            `tolerance` of the best mean of all groups.
        crossing: a key for whose values different groups are said to be best, instead of parts. The claim is supported
            if of two that validate best each is better than the other where it is best.
        bound_orders: a measure, instead of parts, in which all groups are said to come in the order of their bounds of
            convex theory. The claim is supported if, of single seeds, the rank correlation is above 0 in the mean: it
            is one on these groups, and how likely their order is by chance a note says.
        sweeps: names of the sweeps whose runs count; by default the one of its own file.
        looks: numbers of seeds at which it is judged, see `lrdecay.analysis.looks`; none for a single look.
        first_seed: of those that judge at its looks; they are the first so many from it on.
    """

    says: str
    source: str
    supported: str
    refuted: str
    baseline: str | None = None
    parts: list[Part] = []
    tuned_over: str | list[str] | None = None
    tuned_by: list[int] = []
    range_over: str | None = None
    tolerance: float = 0.0
    crossing: str | None = None
    bound_orders: str | None = None
    sweeps: list[str] = []
    looks: list[int] = []
    first_seed: int = 1

    @property
    def tuned_keys(self) -> list[str]:
        """Those of `tuned_over`."""
        return [self.tuned_over] if isinstance(self.tuned_over, str) else self.tuned_over or []


class Claim(Statement, frozen=True, kw_only=True):
    """A statement with the runs that test it.

    Attributes:
        own: folder of the sweep of its own file.
        folders: of the sweeps whose runs count.
        overrides: under which its runs are made and judged.
        config_dir: the folder of configuration of the user's own under which it was read.
    """

    name: str
    own: Path
    folders: list[Path]
    overrides: list[str] = []
    config_dir: Path | None = None

    @property
    def identity(self) -> str:
        """By which its verdict and figure are found: its name and, under overrides, that of its runs."""
        return f"{self.name}-{self.own.name}" if self.overrides else self.name
