"""Tests the weights that a run has left, anew."""

from pathlib import Path

import torch
from omegaconf import OmegaConf

from lrdecay.building import data_set_name, make_data, make_module, take_weights
from lrdecay.checkpoints import FOLDER
from lrdecay.configuration import build
from lrdecay.errors import ConfigError
from lrdecay.process import prepare_process
from lrdecay.record import Record
from lrdecay.resume import composed
from lrdecay.rules import check


def evaluate(record: Record, checkpoint: str, conf: Path, trust: bool = False) -> dict[str, float]:
    """The test metrics of a run's weights, on the data that it used, in the way it was trained.

    On the same machine, with the same versions and on a CPU, they are those of its record to the last digit.

    Args:
        record: of the run.
        checkpoint: name of the file, ``last.ckpt`` or ``best.ckpt``.
        conf: the folder of the project's own configuration, which is trusted.
        trust: whether the run's folder may name classes that are not in `conf`.

    Raises:
        ConfigError: there are no such weights, or they do not fit, or the folder is not trusted.
    """
    config = composed(record, None if trust else conf)
    check(config)
    # Sums are rounded in another order with another number of threads.
    threads = record.threads if record.threads and 1 <= record.threads <= 1024 else None
    prepare_process(config.process.tune, threads)
    data = make_data(config)
    if (name := data_set_name(data)) != record.data:
        raise ConfigError(f"data: is {name} now, and was {record.data} in the run")
    OmegaConf.update(config, "trainer.profiler", None, force_add=True)
    own = {"devices": 1, "strategy": "auto", "callbacks": [], "logger": False, "enable_checkpointing": False}
    trainer = build(config.trainer, "trainer", **own)
    module = make_module(config, data, trainer.strategy.root_device)
    take_weights(module, record.directory / FOLDER / checkpoint)
    with torch.inference_mode():
        trainer.test(module, datamodule=data, verbose=False)
    return {key: value for key, value in module.metrics.items() if key.startswith("test/")}
