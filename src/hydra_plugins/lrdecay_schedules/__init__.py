"""Lets every Hydra application choose ``schedule=cosine``, or ``schedule@any.key=cosine``, where lrdecay is installed.

Hydra imports what it finds in ``hydra_plugins`` at each start of an application, so nothing heavy is imported here.
"""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError, ConfigResult
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf

from lrdecay.config.hydra_internals import PackageSource, stay_behind

PROVIDER, GROUP = "lrdecay", "schedule"


class ScheduleSearchPath(SearchPathPlugin):
    """Puts the schedules behind everything that an application has itself, so that its own are found first."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append(PROVIDER, f"{ScheduleSource.scheme()}://lrdecay.conf")
        stay_behind(search_path, PROVIDER)


class ScheduleSource(PackageSource):
    """The group ``schedule`` of the package's configuration, and nothing else of it.

    All of it would give an application our data sets where it mistypes the name of one of its own.
    """

    @staticmethod
    def scheme() -> str:
        return "lrdecay"

    def load_config(self, config_path: str) -> ConfigResult:
        if not _belongs(config_path):
            raise ConfigLoadError(f"Config not found : {config_path}")
        found = super().load_config(config_path)
        if isinstance(found.config, DictConfig) and OmegaConf.is_interpolation(found.config, "points"):
            found.config.points = None  # the class reads the file too, and the application has no resolver that does
        return found

    def is_group(self, config_path: str) -> bool:
        return config_path == "" or (_belongs(config_path) and super().is_group(config_path))

    def is_config(self, config_path: str) -> bool:
        return _belongs(config_path) and super().is_config(config_path)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if config_path == "":
            return [] if results_filter == ObjectType.CONFIG else [GROUP]
        return super().list(config_path, results_filter) if _belongs(config_path) else []


def _belongs(path: str) -> bool:
    return path.strip("/").split("/")[0] == GROUP
