"""What a configuration says of parameter groups, without torch."""

import re
from collections.abc import Iterable, Mapping
from typing import Any


def name_of(rule: Mapping[str, Any]) -> str:
    """By which the group of a rule is logged: the letters of what it matches."""
    return re.sub(r"\W+", "_", str(rule["match"])).strip("_") or "group"


def ratios(rules: Iterable[Mapping[str, Any]] | None) -> dict[str, float]:
    """The groups whose ``lr`` is not that of the optimizer, by name."""
    return {name_of(rule): float(rule["lr"]) for rule in rules or () if rule.get("lr", 1) != 1}
