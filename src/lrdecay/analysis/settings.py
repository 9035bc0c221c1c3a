"""What sets a run apart from others, going by its record: everything that determines its result but the seed."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lrdecay.records.identity import SINCE_ADDED, comparable, determining, flatten
from lrdecay.records.record import Record


def seed(run: Record) -> int:
    return int(run.plan.config["seed"])


def setting(run: Record, key: str) -> Any:
    """The value of a key in the run's configuration, if it has it and that makes a difference."""
    return settings_of(run).get(key)


def settings_of(record: Record) -> dict[str, Any]:
    """What sets a group apart: everything that determines the result but the seed."""
    derived = of_the_seed(record)
    settings = {
        key: value
        for key, value in determining(record.plan.config, record.plan.data).items()
        if key != "seed" and key not in derived
    }
    extended = [row.get("step") for row in record.progress.resumed if "mode" in row]
    return settings | ({"extended_at": extended} if extended else {})


def of_the_seed(record: Record) -> set[str]:
    """The keys that a run's configuration derives from its seed, as ``data.split_seed: ${seed}``."""
    composed = record.plan.composed
    if "seed}" not in str(composed):  # which most have not
        return set()
    return {key for key, value in flatten(composed).items() if re.search(r"\$\{\.*seed\}", str(value))}


def value_of(settings: Mapping[str, Any], key: str) -> Any:
    """The value of a key; of one that came later, what its absence means."""
    return settings.get(key, SINCE_ADDED.get(key))


def differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys that are not the same in all of these settings."""
    alike = [comparable(own) for own in settings]
    keys = sorted({key for own in alike for key in own})
    return [key for key in keys if len({repr(own.get(key)) for own in alike}) > 1]
