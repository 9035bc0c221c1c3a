"""The runs that were in a sweep's folder before a launch: which job repeats which of them, and where it lies.

Imported at every start of ``train.py``, so nothing heavy is imported here.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from lrdecay.record import Record, determining


class Earlier:
    """The runs that were in a sweep's folder before this launch."""

    def __init__(self, records: Sequence[Record] = ()) -> None:
        self.records = {record.directory.name: record for record in records}
        self._settings = {
            name: determining(record.config) | {"data": record.data or data_set(record.composed)}
            for name, record in self.records.items()
            if not any("mode" in row for row in record.resumed)  # a run that was extended is nobody's repetition
        }
        self._given: dict[int, str] = {}

    def folder(self, number: int, name: str, config: DictConfig) -> str:
        """The folder for a job: of a run that it repeats, or else `name`, with a number if another run has that."""
        if self.records and number not in self._given:
            self._given[number] = self._choose(name, config)
        return self._given.get(number, name)

    def _choose(self, name: str, config: DictConfig) -> str:
        own = comparable(settings(config))
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
        from lrdecay.resume import differences

        return differences(self._settings[name], settings(config)) if name in self._settings else []


def settings(config: DictConfig) -> dict[str, Any]:
    """What determines the result of a job, resolved; the rest may not be known yet."""
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key not in ("hydra", "logger")])
    plain = cast(dict, OmegaConf.to_container(own, resolve=False))
    values = {key: OmegaConf.select(config, key) for key in determining(plain)}
    plain = {k: OmegaConf.to_container(v, resolve=True) if OmegaConf.is_config(v) else v for k, v in values.items()}
    return plain | {"data": data_set(config)}


def data_set(config: Mapping[str, Any]) -> str:
    """The name of the data set that a run under this configuration uses, as its record has it; empty for none."""
    from lrdecay.configuration import data_name

    try:
        name = data_name(config if isinstance(config, DictConfig) else OmegaConf.create(dict(config)))
    except (AttributeError, TypeError):  # the run will say what is wrong with it
        return ""
    return {"lrdecay.data.MNIST": "mnist", "lrdecay.data.Digits": "digits"}.get(name, name.rpartition(".")[2])


def comparable(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, sort_keys=True, default=str)
