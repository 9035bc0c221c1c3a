"""The runs that were in a sweep's folder before a launch: which job repeats which of them, and where it lies.

Imported at every start of ``train.py``, so nothing heavy is imported here.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from lrdecay.data.catalogue import AUTO, KNOWN, data_set
from lrdecay.records.identity import determining, differences, flatten, has_effect
from lrdecay.records.record import Record


class Earlier:
    """The runs that were in a sweep's folder before this launch."""

    def __init__(self, records: Sequence[Record] = ()) -> None:
        self.records = {record.directory.name: record for record in records}
        self._data = {
            _target(record.plan.config): record.plan.data for record in records if record.plan.data is not None
        }
        """Names that only their classes know, which are not imported here: as the runs that used them found out."""
        self._settings = {
            name: determining(record.plan.config) | {"data": record.plan.data or self._data_set(record.plan.composed)}
            for name, record in self.records.items()
            if not any(
                "mode" in row for row in record.progress.resumed
            )  # a run that was extended is nobody's repetition
        }
        self._given: dict[int, str] = {}

    def folder(self, number: int, name: str, config: DictConfig) -> str:
        """The folder for a job: of a run that it repeats, or else `name`, with a number if another run has that."""
        if self.records and number not in self._given:
            self._given[number] = self._choose(name, config)
        return self._given.get(number, name)

    def _choose(self, name: str, config: DictConfig) -> str:
        own = comparable(self._of(config))
        taken = set(self._given.values())
        repeated = [folder for folder, theirs in self._settings.items() if comparable(theirs) == own]
        if free := [folder for folder in repeated if folder not in taken]:
            return name if name in free else free[0]
        names = (name if number == 1 else f"{name}-{number}" for number in itertools.count(1))
        return next(new for new in names if new not in self.records and new not in taken)

    def settled(self, folder: str) -> bool:
        """Whether the run in a folder need not be run again."""
        return folder in self.records and self.records[folder].settled

    def changed(self, name: str, config: DictConfig) -> list[str]:
        """How the run that has a job's name differs from it; nothing if none has."""
        return differences(self._settings[name], self._of(config)) if name in self._settings else []

    def _of(self, config: DictConfig) -> dict[str, Any]:
        """What determines the result of a job, resolved; the rest may not be known yet."""
        own = OmegaConf.masked_copy(config, [str(key) for key in config if key not in ("hydra", "logger")])
        plain = cast(dict[str, Any], OmegaConf.to_container(own, resolve=False))
        values = {key: OmegaConf.select(config, key) for key in flatten(plain) if has_effect(key)}
        for key, value in values.items():
            if OmegaConf.is_config(value):
                values[key] = OmegaConf.to_container(value, resolve=True)
        return determining(values | {"data": {"_target_": _target(plain)}}) | {"data": self._data_set(config)}

    def _data_set(self, config: Mapping[str, Any]) -> str:
        """The name of the data set that a run under this configuration uses, as its record has it; empty for none."""
        target, node = _target(config), config.get("data")
        if target is None:
            return ""  # the run will say what is wrong with it
        if target in KNOWN or target == AUTO:
            return data_set(OmegaConf.create(node)).name
        return self._data.get(target) or data_set({"_target_": target}).name


def _target(config: Mapping[str, Any]) -> str | None:
    data = config.get("data")
    return str(data["_target_"]) if isinstance(data, Mapping | DictConfig) and data.get("_target_") else None


def comparable(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, sort_keys=True, default=str)
