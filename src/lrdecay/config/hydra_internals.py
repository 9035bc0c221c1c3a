"""Everything that this package uses of Hydra and OmegaConf beyond their public interface.

Each entry says what it is for. A test asks whether all of it is still there, and runs weekly against the newest
pre-releases, so that a name that goes away is news before a release of ours breaks.
"""

import argparse
import copy
from collections.abc import Iterable, Sequence
from typing import Any, SupportsIndex

from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.core_plugins.importlib_resources_config_source import ImportlibResourcesConfigSource
from hydra._internal.utils import get_args_parser
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath, SearchPathElement
from hydra.plugins.completion_plugin import DefaultCompletionPlugin

IN_ONE_PROCESS = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
"""The launcher whose jobs share a process."""

Loader = ConfigLoaderImpl
"""What composes configurations; `lrdecay.config.variants` does some of its work faster."""

PackageSource = ImportlibResourcesConfigSource
"""What reads configurations from a package."""


def copy_no_sources() -> None:
    """Makes Hydra's copies of its repository cheap: they have a list of sources of their own, but the same sources.

    It makes a copy in order to replace that list, for each composition and for each group that ``--help`` lists, and
    copies all configurations that come with it: two fifths of the time of ``--help``.
    """
    ConfigRepository.__deepcopy__ = lambda repository, _: copy.copy(repository)  # type: ignore[attr-defined]


def parse_flags(arguments: Sequence[str]) -> argparse.Namespace:
    """Hydra's flags of a command line, however they are abbreviated; what it does not know is left out."""
    given, _ = flags_parser().parse_known_args(list(arguments))
    return given


def stay_behind(search_path: ConfigSearchPath, provider: str) -> None:
    """Keeps a provider behind all others of a search path, those that are added later too, but for structured configs.

    Those have to be the last, as Hydra has them.
    """
    search_path.config_search_path = _Behind(provider, search_path.get_path())  # type: ignore[attr-defined]


class _Behind(list[SearchPathElement]):
    """A list that moves a provider's elements to its end whenever it grows."""

    def __init__(self, provider: str = "", elements: Iterable[SearchPathElement] = ()) -> None:
        self.provider = provider
        super().__init__(elements)
        self._settle()

    def append(self, element: SearchPathElement) -> None:
        super().append(element)
        self._settle()

    def insert(self, index: SupportsIndex, element: SearchPathElement) -> None:
        super().insert(index, element)
        self._settle()

    def _settle(self) -> None:
        def place(element: SearchPathElement) -> int:
            return {self.provider: 1, "schema": 2}.get(element.provider, 0)

        self.sort(key=place)  # which keeps the order of equals


def flags_parser() -> argparse.ArgumentParser:
    """Of Hydra's command lines."""
    return get_args_parser()


def completions(loader: ConfigLoader, word: str, given: Sequence[str]) -> list[str]:
    """The overrides that begin with a word, behind those that are given, as Hydra's own completion has them."""
    found: list[str] = DefaultCompletionPlugin(loader)._query("config", " ".join([*given, word]) if word else "")
    return found


def no_callbacks() -> Callbacks:
    """For the process of a job, whose callbacks are called by the launcher's process."""
    return Callbacks()


def file_of_choice(loader: ConfigLoader, group: str, choice: str) -> Any:
    """The configuration file of a group's choice as it stands, with its list of defaults; ``None`` without one."""
    return loader.repository.load_config(f"{group}/{choice}")  # type: ignore[attr-defined]


def text_of(node: Any) -> str:
    """A node of the configuration as it is written, its interpolations not resolved."""
    return str(node._value())


def parent_of(node: Any) -> str:
    """The whole key of what a node belongs to."""
    return str(node._get_full_key(None)).rpartition(".")[0]


def key_of(node: Any) -> Any:
    """The last part of a node's key."""
    return node._key()
