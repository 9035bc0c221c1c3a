"""Overrides of the command line: the jobs that they mean, what varies among them, and names made of that.

Imported at every start of ``train.py``, so nothing heavy is imported here.
"""

import contextlib
import functools
import io
import itertools
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf

from lrdecay.config import hydra_internals

FOLDER_NAME = "letters, digits, spaces and . _ % + - only, no . or space first"
MOST_BYTES = 200
"""Of a folder's name; file systems take 255, and a number may follow."""


def is_folder_name(name: object) -> bool:
    """Whether TensorBoard can show a folder of that name, and shells and file systems have it without trouble."""
    return re.fullmatch(r"[\w%+-][\w .%+-]*", str(name)) is not None


def job_name(number: int, overrides: Sequence[str], fixed: Sequence[str], choices: Mapping[str, str]) -> str:
    """``03_step_gamma-0.5_seed-2``: the job's number, from 1, and what varied; no ``=`` or ``/`` for TensorBoard."""
    parts = []
    for key, value in _varied(overrides, fixed, choices) or [("", choices["schedule"])]:
        value = re.sub(r"[^\w.%+-]+", "-", value).strip("-")[:60]
        parts.append(f"{key.split('.')[-1]}-{value}" if key else value)
    name = "_".join([f"{number + 1:02}", *parts])
    return name.encode()[:MOST_BYTES].decode(errors="ignore")


def expand(arguments: Sequence[str], loader: ConfigLoader | None = None) -> tuple[list[list[str]], list[str]]:
    """The jobs of a sweep, each as its overrides, and the keys that do not vary among them.

    Args:
        arguments: overrides, ``key=a,b,c`` among them.
        loader: finds the choices of ``key=glob(…)``.

    Raises:
        HydraException: an argument is not an override, or has no value.
    """
    choices: dict[str, list[str]] = {}  # of a key that is given twice, the last
    for override in OverridesParser.create(config_loader=loader).parse_overrides(list(arguments)):
        key = override.get_key_element()
        if not override.is_sweep_override():
            choices[key] = [f"{key}={override.get_value_element_as_str()}"]
        elif override.is_discrete_sweep():
            choices[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
        else:
            raise HydraException(f"{override.input_line}: must list its values, as in {key}=a,b,c")
        if not choices[key]:
            raise HydraException(f"{override.input_line}: must have at least one value")
    jobs = [list(job) for job in itertools.product(*choices.values())]
    common = set.intersection(*map(set, jobs))
    return jobs, sorted({key_of(override) for override in common})


def key_of(override: str) -> str:
    """The key of an override, without the signs that add or remove it."""
    return override.lstrip("+~").partition("=")[0]


def varied(overrides: Sequence[str], fixed: Sequence[str], choices: Mapping[str, str]) -> list[str]:
    """The overrides of keys that vary; of a configuration group the bare choice, or class, that it is built from."""
    return [f"{key}={value}" if key else value for key, value in _varied(overrides, fixed, choices)]


def _varied(overrides: Sequence[str], fixed: Sequence[str], choices: Mapping[str, str]) -> list[tuple[str, str]]:
    """(key, value) pairs, the key being empty for what is built."""
    if isinstance(overrides, ListConfig):
        overrides = cast(list[str], OmegaConf.to_container(overrides, resolve=False))
    pairs = []
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        group, _, name = key.rpartition(".")
        if key in fixed:
            continue
        if name == "_target_" and group in choices:
            pairs.append(("", value.rpartition(".")[2]))
        else:
            pairs.append(("" if key in choices else key, value))
    return pairs


def names(config: DictConfig, choices: Mapping[Any, Any]) -> dict[str, str]:
    """What each configuration group is built from: its choice or, where another class has been given, that class."""
    choices = {str(group): str(choice) for group, choice in choices.items()}
    for group, choice in choices.items():
        target = OmegaConf.select(config, f"{group}._target_") if "/" not in group else None
        if target is not None and target not in _targets(GlobalHydra.instance().config_loader(), group, choice):
            choices[group] = str(target).rpartition(".")[2]
    return choices


@functools.lru_cache(256)
def _targets(loader: ConfigLoader, group: str, choice: str) -> frozenset[str]:
    """The class that a choice's own file names, and those that it takes over from."""
    found = hydra_internals.file_of_choice(loader, group, choice)
    if found is None:
        return frozenset()
    target = found.config.get("_target_") if isinstance(found.config, DictConfig) else None
    paths = [getattr(default, "path", None) for default in found.defaults_list or () if not default.is_override()]
    own = {str(target)} if target else set()
    return frozenset(own.union(*(_targets(loader, group, path) for path in paths if path)))


def accepted(arguments: Sequence[str]) -> list[str]:
    """The arguments as Hydra takes them.

    ``-m`` may stand anywhere, and ``+trainer.key`` sets a key too that the trainer's choices have already: they had
    only some of Lightning's once, and the others were added with a plus.
    """
    multirun = [word for word in arguments if word == "-m" or (len(word) > 2 and "--multirun".startswith(word))]
    others = [word for word in arguments if word not in multirun]
    return multirun[:1] + [f"+{word}" if word.startswith("+trainer.") else word for word in others]


def flags(arguments: Sequence[str]) -> list[str]:
    """Hydra's flags among the arguments that say where the configuration is, however they were written."""
    given = hydra_internals.parse_flags(arguments)
    options = {"--config-path": given.config_path, "--config-name": given.config_name, "--config-dir": given.config_dir}
    return [f"{option}={value}" for option, value in options.items() if value is not None]


def flags_of(command: Sequence[str]) -> list[str]:
    """The same of a recorded command, which may be anything; none where it is no command of ours."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return flags(command[1:])
    except SystemExit:
        return []


def searching(folder: Path) -> str:
    """The override by which Hydra finds configuration in a folder of the user's own."""
    return f"hydra.searchpath=[file://{folder.absolute()}]"


def override(key: str, value: str | Path) -> str:
    """``key=value`` as Hydra reads it: quoted, where the value would be taken for something else."""
    text = str(value)
    try:
        plain = OverridesParser.create().parse_override(f"{key}={text}").value() == text
    except HydraException:
        plain = False
    if not plain or "${" in text:
        text = QuotedString(text=text.replace("${", r"\${"), quote=Quote.single).with_quotes()
    return f"{key}={text}"


def shell_word(key: str, value: str | Path) -> str:
    """``key=value`` as a user can paste it: quoted for Hydra, and then for a shell, where either needs that."""
    return shlex.quote(override(key, value))
