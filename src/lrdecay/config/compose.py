"""Composes configurations from command lines, without running anything."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, open_dict, read_write

from lrdecay.config.overrides import accepted, expand, names, varied
from lrdecay.config.resolvers import register_resolvers
from lrdecay.config.rules import check_present
from lrdecay.config.variants import Variants


def compose_jobs(
    conf: Path, overrides: Sequence[str], experiments: bool = False
) -> Iterator[tuple[list[str], list[str], DictConfig]]:
    """The jobs of a sweep: of each its overrides, the keys that all share, and its configuration, with ``hydra``.

    For arguments and errors see `compose_all`.
    """
    register_resolvers()
    with initialize_config_dir(str(conf), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        overrides = accepted(overrides)
        jobs, fixed = expand(overrides, loader)
        if experiments:
            params = compose("config", jobs[0], return_hydra_config=True).hydra.sweeper.params or {}
            own = [f"{key}={value}" for key, value in params.items() if key != "seed"]
            jobs, fixed = expand([*own, *overrides], loader)
        variants, bare = Variants(loader), compose("config", return_hydra_config=True)
        for job in jobs:
            config = variants.load_sweep_config(bare, job)
            check_present(config)
            yield job, fixed, config


def compose_all(conf: Path, overrides: Sequence[str], experiments: bool = False) -> list[tuple[str, DictConfig]]:
    """Every configuration that a sweep over these overrides has, with a label of what varies.

    Args:
        conf: the folder of ``config.yaml``.
        overrides: as on the command line of ``train.py -m``.
        experiments: whether the sweep that an experiment carries counts too, but for its seeds.

    Returns:
        (label, configuration) pairs; a single one is labelled by its schedule.

    Raises:
        HydraException: an override is malformed, or does not fit the configuration.
    """
    configs = []
    for job, fixed, config in compose_jobs(conf, overrides, experiments):
        choices = names(config, config.hydra.runtime.choices)
        parts = [part.partition("=") for part in varied(job, fixed, choices)]
        label = " ".join(key.split(".")[-1] + equals + value for key, equals, value in parts)
        with read_write(config), open_dict(config):
            del config["hydra"]
        configs.append((label or choices["schedule"], config))
    return configs
