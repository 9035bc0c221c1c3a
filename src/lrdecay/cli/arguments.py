"""What the parsers of all commands have in common."""

import argparse
import os
import re
import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lrdecay.commands import as_called, by_command
from lrdecay.errors import ConfigError

LONGEST_RANGE = 10_000


def parser_of(command: str, doc: str | None) -> argparse.ArgumentParser:
    """A parser that describes the command by the docstring of its module."""
    return argparse.ArgumentParser(
        prog=f"lrdecay {command}" if by_command() else None,
        description=as_called(described(doc or "")),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def numbered(text: str) -> range:
    """The seeds of ``1..30``."""
    found = re.fullmatch(r"(\d{1,9})\.\.(\d{1,9})", text)
    first, last = (int(number) for number in found.groups()) if found else (1, 0)
    if not first <= last < first + LONGEST_RANGE:
        raise argparse.ArgumentTypeError(
            f"{text}: must be the first and the last of at most {LONGEST_RANGE:,} seeds, such as 1..30"
        )
    return range(first, last + 1)


def seeds(text: str) -> list[int]:
    """Those of ``1,2`` or of ``1..30``."""
    if ".." in text:
        return list(numbered(text))
    if not re.fullmatch(r"\d{1,9}(,\d{1,9})*", text):
        raise argparse.ArgumentTypeError(f"{text}: must be seeds, such as 1,2 or 1..30")
    return sorted({int(seed) for seed in text.split(",")})


def described(doc: str) -> str:
    """A docstring as a terminal shows it: its prose as wide as that is, its examples line by line."""
    width = shutil.get_terminal_size().columns - 2
    parts = doc.replace("``", "").strip().split("\n\n")
    return "\n\n".join(part if "lrdecay " in part else textwrap.fill(part, width) for part in parts)


def add_overrides(parser: argparse.ArgumentParser, what: str) -> None:
    """Lets a command take overrides, and configuration of one's own, as training does; `what` is their help."""
    parser.add_argument("overrides", nargs="*", metavar="key=value", help=what)
    add_config_dir(parser)


def add_config_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config-dir", type=Path, help="a folder with your own configuration, as for training")


def parse(parser: argparse.ArgumentParser, conf: Path | None = None, others: Sequence[str] = ()) -> argparse.Namespace:
    """What the command line says; where a shell asks how it may go on, that is answered, and the process ends.

    Args:
        conf: the folder of the configuration, where words may be overrides.
        others: what words may be too, beside files.
    """
    if "_ARGCOMPLETE" in os.environ:
        complete(parser, conf, others)
    arguments = parser.parse_intermixed_args()
    if (folder := getattr(arguments, "config_dir", None)) is not None:
        if not folder.is_dir():
            raise ConfigError(f"--config-dir={folder}: must be a folder")
        if "overrides" in arguments:
            from lrdecay.config.overrides import searching  # Hydra: not for every command

            arguments.overrides.insert(0, searching(folder))
    return arguments


def complete(parser: argparse.ArgumentParser, conf: Path | None = None, others: Sequence[str] = ()) -> None:
    """Says how the command line may go on, and ends the process; for the arguments see `parse`."""
    import argcomplete

    files = argcomplete.completers.FilesCompleter()

    def words(prefix: str, action: argparse.Action, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
        found = [] if "=" in prefix else [*others, *files(prefix)]
        if conf is None or action.option_strings:
            return found
        given = [word for value in vars(parsed_args).values() if isinstance(value, list) for word in value]
        return found + _overrides(conf, prefix, [word for word in given if isinstance(word, str) and "=" in word])

    completer: Any = words  # any callable will do
    argcomplete.autocomplete(parser, default_completer=completer, always_complete_options=False)


def _overrides(conf: Path, prefix: str, given: Sequence[str]) -> list[str]:
    """The overrides that begin so; of several choices, as in ``schedule=step,co``, the last is completed."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    from lrdecay.config.hydra_internals import completions
    from lrdecay.sweeps.folders import register_resolvers

    register_resolvers()
    key, equals, value = prefix.partition("=")
    before, comma, last = value.rpartition(",")
    group = key.lstrip("+").partition("@")[0] if "@" in key else key  # schedule@scheduled.model.dropout
    # Of a sweep its first job, and nothing that is quoted: what is given is only to find the keys that there are.
    plain = [word.partition(",")[0] for word in given if not set(word) & set(" '\"[{(")]
    with initialize_config_dir(str(conf), version_base="1.3"):
        found = completions(GlobalHydra.instance().config_loader(), f"{group}{equals}{last}", plain)
    if "@" in key:
        return [f"{key}={before}{comma}{word.removeprefix(f'{group}=')}" for word in found if equals]
    if not equals:  # a group that has groups within it too is found bare
        return [word if word[-1] in "=./" else f"{word}=" for word in found]
    return [f"{key}={before}{comma}{word.removeprefix(f'{key}=')}" for word in found]
