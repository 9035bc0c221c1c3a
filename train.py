"""Trains one run, or with ``-m`` a sweep: ``python train.py schedule=cosine``, ``--help`` for more."""

import math
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from lrdecay.messages import one_line, one_line_errors
from lrdecay.overrides import accepted
from lrdecay.resolvers import register_resolvers

CONF = Path(__file__).resolve().parent / "conf"


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def main(config: DictConfig) -> float:
    from lrdecay.run import run  # torch: not for --help

    if HydraConfig.get().mode == RunMode.RUN:
        with one_line_errors():  # here, or Hydra would add a line of its own
            return run(config)
    try:
        return run(config)
    except Exception as error:
        # The sweep goes on, and tells at its end what the record has; what it has not is said here.
        if not getattr(error, "recorded", False):
            print(f"error: {one_line(error)}", file=sys.stderr)
        return math.nan


if __name__ == "__main__":
    register_resolvers()
    sys.argv[1:] = accepted(sys.argv[1:])
    with one_line_errors():
        main()
