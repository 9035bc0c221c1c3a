"""Everything that this package uses of Hydra and OmegaConf beyond their public interface.

Each entry says what it is for. A test asks whether all of it is still there, and runs weekly against the newest
pre-releases, so that a name that goes away is news before a release of ours breaks.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra

IN_ONE_PROCESS = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
"""The launcher whose jobs share a process."""


def parse_flags(arguments: Sequence[str]) -> argparse.Namespace:
    """Hydra's flags of a command line, however they are abbreviated; what it does not know is left out."""
    given, _ = get_args_parser().parse_known_args(list(arguments))
    return given


def no_callbacks() -> Callbacks:
    """For the process of a job, whose callbacks are called by the launcher's process."""
    return Callbacks()


def file_of_choice(group: str, choice: str) -> Any:
    """The configuration file of a group's choice as it stands, with its list of defaults; ``None`` without one."""
    loader = GlobalHydra.instance().config_loader()
    return loader.repository.load_config(f"{group}/{choice}")  # type: ignore[attr-defined]


def text_of(node: Any) -> str:
    """A node of the configuration as it is written, its interpolations not resolved."""
    return str(node._value())


def key_of(node: Any) -> Any:
    """The last part of a node's key."""
    return node._key()
