"""Training: one run, or with ``-m`` a sweep."""

import math
import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from lrdecay.cli.arguments import complete
from lrdecay.cli.errors import one_line_errors
from lrdecay.config import hydra_internals
from lrdecay.config.messages import one_line
from lrdecay.config.overrides import accepted
from lrdecay.imports import importing
from lrdecay.sweeps.folders import register_resolvers


def main(conf: Path) -> None:
    """Runs what the command line asks for, under the configuration in that folder."""
    if "_ARGCOMPLETE" in os.environ:
        complete(hydra_internals.flags_parser(), conf)
    register_resolvers()
    hydra_internals.copy_no_sources()
    sys.argv[1:] = accepted(sys.argv[1:])
    hydra.main(version_base="1.3", config_path=str(conf), config_name="config")(job)()


def job(config: DictConfig) -> float:
    """A run: the only one, or a job of a sweep."""
    with importing():
        from lrdecay.runs.run import run  # torch: not for --help

    if HydraConfig.get().mode == RunMode.RUN:
        with one_line_errors():  # here, or Hydra would add a line of its own
            return run(config)
    try:
        return run(config)
    except Exception as error:
        # The sweep continues, and tells at its end what the record has; what it has not is said here.
        if not getattr(error, "recorded", False):
            print(f"error: {one_line(error)}", file=sys.stderr)
        return math.nan
