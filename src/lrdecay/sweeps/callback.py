"""The folder of a single run, claimed when the run begins; a sweep's is claimed by its sweeper.

Imported at every start of ``train.py``, so nothing heavy is imported here.
"""

import sys
import traceback
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from lrdecay.config.messages import full_errors, one_line
from lrdecay.config.rules import check_present
from lrdecay.sweeps.folders import claim, is_new_run


class RunFolder(Callback):
    """Claims a folder for a run; refuses a configuration of which something is missing before it is made."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        try:
            check_present(config)
            if is_new_run(config) and not OmegaConf.is_interpolation(config.hydra.run, "dir"):
                return  # hydra.run.dir was given, and is used as it is
            folder = config.hydra.run.dir
            with read_write(config), open_dict(config):
                config.hydra.run.dir = claim(folder) if is_new_run(config) else folder
        except Exception as error:  # Hydra turns exceptions of callbacks into warnings, but lets an exit pass
            if full_errors():
                traceback.print_exc()
            sys.exit(f"error: {one_line(error)}")
