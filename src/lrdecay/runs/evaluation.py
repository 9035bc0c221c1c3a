"""Tests the weights that a run has left once more."""

from pathlib import Path

import torch
from omegaconf import OmegaConf

from lrdecay.config.build import build
from lrdecay.errors import ConfigError
from lrdecay.records.record import Record
from lrdecay.runs.assembly import data_set_name, make_module, take_weights
from lrdecay.runs.resume import composed
from lrdecay.training.checkpoints import FOLDER
from lrdecay.training.module import is_tested
from lrdecay.training.process import prepare_process
from lrdecay.training.warnings import without_expected_warnings


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
    config = composed(record, None if trust else [conf])
    OmegaConf.update(config, "trainer.profiler", None, force_add=True)
    parts = build(config)
    # Sums are rounded in another order with another number of threads.
    threads = record.plan.threads if record.plan.threads and 1 <= record.plan.threads <= 1024 else None
    prepare_process(config.process.tune, threads)
    if (name := data_set_name(parts.data)) != record.plan.data:
        raise ConfigError(f"data: the run used {record.plan.data}, but its configuration now gives {name}")
    one = {"devices": 1, "num_nodes": 1, "strategy": "auto"}
    own = one | {"callbacks": [], "logger": False, "enable_checkpointing": False}
    with without_expected_warnings():
        trainer = parts.trainer(**own)
        module = make_module(parts, trainer.strategy.root_device)
        if not is_tested(module, parts.data):
            name = type(module).__name__
            raise ConfigError(f"{record.directory}: cannot be tested: {name} has no test_step, or no test data")
        take_weights(module, record.directory / FOLDER / checkpoint)
        with torch.inference_mode():
            trainer.test(module, datamodule=parts.data, verbose=False)
    journal = module.course.journal
    return {key: value for key, value in journal.metrics.items() if key in journal.known.of_split("test")}
