"""What of another person's run is built when it is resumed or evaluated: what the project's own configuration names,
each in its own group, and nothing that would be written elsewhere.

Needs no torch, and executes nothing.
"""

import functools
import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from lrdecay.errors import ConfigError
from lrdecay.records.record import Record
from lrdecay.records.renames import renamed
from lrdecay.text import shortened

IF_TRUSTED = "to be trusted only if you know where the run comes from (trust=true, --trust)"

# Classes only: nothing else has such a name in these modules.
TORCH_CLASSES = {
    "optimizer": re.compile(r"torch\.optim\.[A-Z]\w*"),
    "schedule": re.compile(r"torch\.optim\.(lr_scheduler|swa_utils)\.[A-Z]\w*"),
}
# Of keys under which loggers, callbacks and the trainer keep where they write, and names that become part of it.
PLACE = re.compile(r"\w*(dir|path|root|file|filename|ur[il])")
NAME = re.compile(r"\w*(name|version|prefix|project|entity|group|id)")
FORMER = {"callbacks": {"${better:${metric}}"}}
"""Interpolations of the configuration of version 0.1."""


def require_trusted(record: Record, *conf: Path) -> None:
    """Checks that a run names only classes, interpolations and places to write to that `conf` does.

    Raises:
        ConfigError: it names another.
    """
    own, names = own_strings(*conf), _own_names(*conf)
    for key, value in _leaves(renamed(record.plan.composed)):
        group, *below = re.sub(r"\[\d+\]", "", key).split(".")
        group = {"scheduled": "schedule"}.get(group, group)  # schedules too, of other quantities
        # Nothing can be told of an argument without a name, and what loggers take beyond ours may be settings of a
        # network.
        unnamed = "_args_" in below or (group == "logger" and not set(below[1:]) <= names[group])
        foreign = isinstance(value, str) and value not in own.get(group, ()) and not _harmless(group, key, value)
        if unnamed or foreign:
            raise ConfigError(f"{record.directory}: {key}={shortened(value)} is not this project's own; {IF_TRUSTED}")


def _harmless(group: str, key: str, value: str) -> bool:
    name = re.sub(r"(\[\d+\])+$", "", key).rpartition(".")[2]
    if name == "_target_":
        return group in TORCH_CLASSES and TORCH_CLASSES[group].fullmatch(value) is not None
    if "${" in value:
        return False
    if group not in ("logger", "callbacks", "trainer"):
        return True
    leads_out = re.search(r"/|\.\.|:", value) is not None
    return PLACE.fullmatch(name) is None and not (leads_out and NAME.fullmatch(name))


def without_downloads(data: Any, *conf: Path) -> Any:
    """A ``data`` group that downloads nothing into a folder that `conf` does not name."""
    if isinstance(data, list):
        return [without_downloads(item, *conf) for item in data]
    if not isinstance(data, Mapping):
        return data
    kept = {key: without_downloads(item, *conf) for key, item in data.items()}
    root = kept.get("root")
    foreign = "root" in kept and not (isinstance(root, str) and root in own_strings(*conf)["data"])
    return kept | ({"download": False} if foreign else {})


@functools.cache
def own_strings(*conf: Path) -> Mapping[str, frozenset[str]]:
    """All strings in these folders of configuration, by the group of the composed one that they stand in."""
    found: dict[str, set[str]] = {group: set(strings) for group, strings in FORMER.items()}
    for group, _, value in itertools.chain(*map(_own_leaves, conf)):
        if isinstance(value, str):
            found.setdefault(group, set()).add(value)
    return {group: frozenset(strings) for group, strings in found.items()}


@functools.cache
def _own_names(*conf: Path) -> Mapping[str, frozenset[str]]:
    """The names of all keys in it, by the same groups."""
    found: dict[str, set[str]] = {}
    for group, key, _ in itertools.chain(*map(_own_leaves, conf)):
        found.setdefault(group, set()).update(re.sub(r"\[\d+\]", "", key).split("."))
    return {group: frozenset(names) for group, names in found.items()}


def _own_leaves(conf: Path) -> Iterator[tuple[str, str, Any]]:
    """Group, key and value of everything in the project's configuration that a record may hold."""
    for file in conf.rglob("*.yaml"):
        text, (group, *below) = file.read_text(encoding="utf-8"), file.relative_to(conf).parts
        if group == "hydra":  # it has no part in what a record holds
            continue
        whole = not below or text.startswith("# @package _global_")
        for key, value in _leaves(yaml.load(text, yaml.CSafeLoader)):
            yield re.split(r"[.\[]", key, maxsplit=1)[0] if whole else group, key, value


def _leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for name, item in node.items():
            yield from _leaves(item, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list):
        for number, item in enumerate(node):
            yield from _leaves(item, f"{key}[{number}]")
    else:
        yield key, node
