"""Reads claims from ``conf/experiment/claims``, and from such a folder of the user's own."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import msgspec
from omegaconf import OmegaConf

from lrdecay.analysis.claim import COUNTED, WORKING_VALUES, Claim, Expectation, Statement
from lrdecay.analysis.measures import measures_of
from lrdecay.config.compose import compose_all, compose_jobs
from lrdecay.config.overrides import expand, key_of, searching
from lrdecay.config.overrides import names as names_of_choices
from lrdecay.data.catalogue import data_set
from lrdecay.errors import ConfigError
from lrdecay.metrics import metrics_of
from lrdecay.records.record import Plan, Record
from lrdecay.records.validation import mismatch


@dataclass(frozen=True)
class Claims:
    """The claims that there are: ``NAME``, and ``PROBLEM/NAME`` for the same on another problem than MNIST.

    Args:
        conf: the folder of ``config.yaml``.
        own: a folder of configuration of the user's own, which may hold claims too.
    """

    conf: Path
    own: Path | None = None

    def names(self) -> list[str]:
        """Those of both folders.

        Raises:
            ConfigError: both have one of the same name.
        """
        names = [name for folder in (self.conf, self.own) if folder for name in _names(folder)]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ConfigError(f"claim {twice}: must have a name of its own in {self.own}; lrdecay has one of this name")
        return names

    def asked_for(self) -> list[str]:
        """Those meant where none is named: the user's own, where there is a folder of these.

        Raises:
            ConfigError: there are none in it.
        """
        names = _names(self.own) if self.own else self.names()
        if not names:
            raise ConfigError(f"--config-dir={self.own}: must have claims in experiment/claims")
        return names

    def read(self, name: str, overrides: Sequence[str] = ()) -> Claim:
        """The claim of ``conf/experiment/claims/NAME.yaml``.

        Args:
            name: of the file.
            overrides: for its runs, as on the command line.

        Raises:
            ConfigError: there is no such file, or what it holds is not a claim.
        """
        if name not in self.names():
            raise ConfigError(f"claim {name}: must be one of {', '.join(self.names())}")
        configs = compose_all(self.conf, self._words(name, overrides))
        if len(configs) != 1:
            raise ConfigError(f"claim {name}: its overrides must have one value each")
        config = configs[0][1]
        where = f"experiment/claims/{name}.yaml: claim"
        values = OmegaConf.to_container(config.claim) if OmegaConf.is_config(config.claim) else config.claim
        try:
            statement = msgspec.convert(values, Statement)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{where}{_readable(error)}") from error
        known = list(measures_of(metrics_of(config)))
        _check(statement, where, known)
        folder = Path(config.output_dir, "sweeps")
        one_line = {key: " ".join(getattr(statement, key).split()) for key in ("says", "source")}
        return Claim(
            **(msgspec.structs.asdict(statement) | one_line),
            name=name,
            own=folder / str(config.name),
            folders=[folder / one for one in statement.sweeps or [str(config.name)]],
            overrides=list(overrides),
            config_dir=self.own,
        )

    def planned(self, name: str, overrides: Sequence[str] = ()) -> list[Record]:
        """The runs of a claim's sweep but for their seeds, before there are any: records that have a plan only."""
        records = []
        for _, _, config in compose_jobs(self.conf, self._words(name, overrides), experiments=True):
            choices = names_of_choices(config, config.hydra.runtime.choices)
            # Loggers name folders that only a job has.
            of_the_run = OmegaConf.masked_copy(config, [str(key) for key in config if key not in ("hydra", "logger")])
            plain: Any = OmegaConf.to_container(of_the_run, resolve=True)
            plan = Plan(config=plain, choices=choices, data=data_set(plain["data"]).name)
            records.append(Record(Path(name), plan))
        return records

    def seeds(self, name: str, overrides: Sequence[str] = ()) -> set[int]:
        """The seeds of a claim's sweep."""
        ((_, _, config),) = compose_jobs(self.conf, self._words(name, overrides))
        given = (config.hydra.sweeper.get("params") or {}).get("seed")
        if given is None or "seed" in map(key_of, overrides):
            return {int(config.seed)}
        return {int(word.partition("=")[2]) for (word,) in expand([f"seed={given}"])[0]}

    def _words(self, name: str, overrides: Sequence[str]) -> list[str]:
        places = [searching(self.own)] if self.own else []
        return [*places, f"experiment=claims/{name}", *overrides]


def _names(conf: Path) -> list[str]:
    """Those of one folder, on MNIST first."""
    folder = conf / "experiment/claims"
    names = (path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))
    return sorted((name for name in names if not name.startswith("sweep/")), key=lambda name: (name.count("/"), name))


def _readable(error: msgspec.ValidationError) -> str:
    text = mismatch(error)
    return f"{text}: must be one of {', '.join(get_args(Expectation))}" if ".expect: invalid enum" in text else text


def _check(statement: Statement, where: str, known: Sequence[str]) -> None:
    measures = [WORKING_VALUES] if statement.range_over else known
    for part in statement.parts:
        if not (part.groups and part.measures):
            raise ConfigError(f"{where}.parts: must name groups and measures")
        for measure in part.measures:
            if measure not in measures:
                raise ConfigError(f"{where}.parts.measures={measure}: must be one of {', '.join(measures)}")
        if not (0 < part.margin < math.inf or (part.margin == 0 and part.expect in ("better", "worse"))):
            raise ConfigError(
                f"{where}.parts.margin={part.margin}: must be finite, above 0 with not worse and same, and at least 0 "
                "otherwise"
            )
    kinds = [bool(statement.parts), bool(statement.crossing), bool(statement.bound_orders)]
    if (statement.baseline is None) == bool(statement.parts) or sum(kinds) != 1:
        raise ConfigError(f"{where}: must have parts and their baseline, or crossing, or bound_orders")
    if statement.bound_orders and statement.bound_orders not in known:
        raise ConfigError(f"{where}.bound_orders={statement.bound_orders}: must be one of {', '.join(known)}")
    if statement.tuned_by and not (statement.tuned_over and statement.looks):
        raise ConfigError(f"{where}.tuned_by={statement.tuned_by}: must come with tuned_over and looks")
    if statement.looks and statement.tuned_over and not statement.tuned_by:
        raise ConfigError(f"{where}.tuned_over={statement.tuned_over}: must come with tuned_by where there are looks")
    judging = range(statement.first_seed, statement.first_seed + max(statement.looks, default=0))
    if both := [seed for seed in statement.tuned_by if seed in judging]:
        raise ConfigError(f"{where}.tuned_by={statement.tuned_by}: must not contain {both}, which judge at its looks")
    if statement.first_seed < 0 or (statement.first_seed != 1 and not statement.looks):
        raise ConfigError(f"{where}.first_seed={statement.first_seed}: must be at least 0, and come with looks")
    rising = all(one < other for one, other in itertools.pairwise(statement.looks))
    if not rising or any(count < 2 for count in statement.looks):
        raise ConfigError(f"{where}.looks={statement.looks}: must be rising numbers of seeds, at least 2 each")
    if not 0 <= statement.tolerance < math.inf or (statement.tolerance and not statement.range_over):
        raise ConfigError(
            f"{where}.tolerance={statement.tolerance}: must be finite and at least 0, and come with range_over"
        )
    if statement.range_over and COUNTED not in known:
        raise ConfigError(f"{where}.range_over={statement.range_over}: must come with a module that measures {COUNTED}")
    if statement.range_over and (statement.tuned_over or not statement.parts):
        raise ConfigError(f"{where}.range_over={statement.range_over}: must come with parts, and without tuned_over")
