"""Many configurations that differ in a few values, as the jobs of a sweep do: composed once, and then varied."""

import copy
import functools
from collections.abc import Iterable, Sequence

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from lrdecay.config import hydra_internals

MOST = 32
"""Composed configurations that are kept, a megabyte each."""


class Variants(hydra_internals.Loader):
    """Hydra's loader, faster where many configurations are asked for.

    Composing reads some thirty files and takes a tenth of a second; setting a value takes microseconds. So only the
    first of all configurations with the same choices is composed, and the others are derived from it: overrides
    that set a plain value are applied, and all others (choices, lists, ``+`` and ``~``) must be the same.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        super().__init__(loader.get_search_path())
        self._composed: dict[tuple[str, ...], DictConfig] = {}

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """The configuration of a job, with ``hydra``, under the overrides of the sweep and its own."""
        return copy.deepcopy(self.shared(master_config, sweep_overrides))

    def shared(self, master_config: DictConfig, sweep_overrides: Sequence[str]) -> DictConfig:
        """The same, to be read before the next one is asked for, which will be the same object."""
        overrides = [_parsed(word) for word in sweep_overrides]
        plain = {o.get_key_element(): o for o in overrides if _sets_a_value(o, overrides, master_config)}
        others = [o.get_key_element() if o.get_key_element() in plain else str(o.input_line) for o in overrides]
        family = (*master_config.hydra.overrides.hydra, *others)
        config = self._composed.get(family)
        if config is None:
            config = super().load_sweep_config(master_config, list(sweep_overrides))
            if len(self._composed) == MOST:  # the oldest; jobs with the same choices mostly follow one another
                del self._composed[next(iter(self._composed))]
            self._composed[family] = config
            return config
        for key, override in plain.items():
            OmegaConf.update(config, key, override.value())
        self._describe(config, master_config, overrides)
        return config

    @staticmethod
    def _describe(config: DictConfig, master_config: DictConfig, overrides: Sequence[Override]) -> None:
        """What a composed configuration says of its overrides."""
        of_hydra = [str(o.input_line) for o in overrides if o.is_hydra_override()]
        task = [o for o in overrides if not o.is_hydra_override()]
        with read_write(config), open_dict(config):
            config.hydra.overrides.hydra = [*master_config.hydra.overrides.hydra, *of_hydra]
            config.hydra.overrides.task = [str(o.input_line) for o in task]
            config.hydra.job.override_dirname = _override_dirname(config, task)


@functools.cache
def _parsed(word: str) -> Override:
    return OverridesParser.create().parse_override(word)


def _sets_a_value(override: Override, all_of_them: Iterable[Override], config: DictConfig) -> bool:
    """Whether it does no more than to set one value that no other override sets too, wherever in their order it is."""
    key = override.get_key_element()
    if (
        override.type is not OverrideType.CHANGE
        or "@" in key  # a choice for some place, such as schedule@schedule.first
        or key in config.hydra.runtime.choices
        or isinstance(override.value(), list | dict)
    ):
        return False
    others = [o.get_key_element().lstrip("+~") for o in all_of_them if o is not override]
    return not any(f"{other}.".startswith(f"{key}.") or f"{key}.".startswith(f"{other}.") for other in others)


def _override_dirname(config: DictConfig, overrides: Sequence[Override]) -> str:
    """``hydra.job.override_dirname`` of a configuration under these overrides, as Hydra words it."""
    form = config.hydra.job.config.override_dirname
    lines = sorted(str(one.input_line) for one in overrides if one.key_or_group not in form.exclude_keys)
    return str(form.item_sep).join(lines).replace("=", form.kv_sep)
