"""The space of a search, as Hydra writes it: ``interval(1e-4,1e-1)``, ``tag(log,interval(…))``, ``range``, ``choice``.

Imported at every start of ``train.py``, so nothing heavy is imported here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from lrdecay.errors import ConfigError

if TYPE_CHECKING:
    from optuna.trial import FixedTrial, Trial


@dataclass(frozen=True)
class Dimension:
    """A key that is searched over.

    Attributes:
        key: of the configuration.
        given: the override as it was written.
        low, high, step, log, whole: of numbers in an interval, ``None`` for the step of one without.
        choices: the values in its place, as an override has them.
    """

    key: str
    given: str
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    log: bool = False
    whole: bool = False
    choices: tuple[str, ...] = ()

    def suggest(self, trial: "Trial | FixedTrial") -> str:
        """The value of a trial, as an override has it."""
        if self.choices:
            return str(trial.suggest_categorical(self.key, self.choices))
        if self.whole:
            step = int(self.step or 1)
            return str(trial.suggest_int(self.key, int(self.low), int(self.high), step=step, log=self.log))
        # Six digits are what folders and people can take; the study has all.
        return f"{trial.suggest_float(self.key, self.low, self.high, step=self.step, log=self.log):.6g}"


@dataclass(frozen=True)
class Space:
    """What a command line searches over, and what it leaves as it is.

    Attributes:
        fixed: overrides with one value.
        dimensions: the keys with several, choices of configuration groups before keys that only some of them have.
    """

    fixed: list[str]
    dimensions: list[Dimension]

    def suggest(self, trial: "Trial | FixedTrial", has: Callable[[Sequence[str], str], bool]) -> list[str]:
        """The overrides of a trial.

        Args:
            trial: suggests.
            has: whether a configuration under these overrides has a key: ``schedule.gamma`` is one of ``step`` alone.
        """
        chosen = list(self.fixed)
        for dimension in self.dimensions:
            if has(chosen, dimension.key):
                chosen.append(f"{dimension.key}={dimension.suggest(trial)}")
        return chosen


def read_space(arguments: Sequence[str], groups: Sequence[str], loader: ConfigLoader | None) -> Space:
    """The space of these overrides.

    Args:
        arguments: as on the command line; of a key that is given twice, the last counts.
        groups: names of configuration groups.
        loader: finds the choices of ``key=glob(…)``.

    Raises:
        ConfigError: a space is empty or of no width, or there is none.
    """
    overrides = {o.get_key_element(): o for o in OverridesParser.create(loader).parse_overrides(list(arguments))}
    fixed = [str(o.input_line) for o in overrides.values() if not o.is_sweep_override()]
    dimensions = [_dimension(o) for o in overrides.values() if o.is_sweep_override()]
    if not dimensions:
        raise ConfigError("hydra/sweeper=optuna: must have a key to search over, such as optimizer.lr=interval(0.01,1)")
    return Space(fixed, sorted(dimensions, key=lambda dimension: dimension.key not in groups))


def _dimension(override: Override) -> Dimension:
    key, value, given = override.get_key_element(), override.value(), str(override.input_line)
    log = "log" in getattr(value, "tags", ())
    if isinstance(value, IntervalSweep):
        low, high = value.start, value.end
        assert low is not None
        assert high is not None
        found = Dimension(key, given, low, high, log=log, whole=isinstance(low, int) and isinstance(high, int))
    elif isinstance(value, RangeSweep) and log:
        raise ConfigError(f"{given}: must be an interval to be searched over logarithmically")
    elif isinstance(value, RangeSweep) and len(values := [float(str(x)) for x in override.sweep_string_iterator()]) > 0:
        whole = all(isinstance(end, int) for end in (value.start, value.step))
        found = Dimension(key, given, min(values), max(values), abs(float(value.step)), whole=whole)
    else:
        found = Dimension(key, given, choices=tuple(override.sweep_string_iterator()))
        if not found.choices:
            raise ConfigError(f"{given}: must have at least one value")
        return found
    if not found.low < found.high:
        raise ConfigError(f"{given}: must have a lower and a higher end")
    if found.log and found.low <= 0:
        raise ConfigError(f"{given}: must begin above 0 to be searched over logarithmically")
    return found
