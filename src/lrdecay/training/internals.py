"""Everything that this package uses of Lightning and torch beyond their public interface.

Each entry says what it is for. A test asks whether all of it is still there, and runs weekly against the newest
pre-releases, so that a name that goes away is news before a release of ours breaks.
"""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim import Optimizer


def fetcher(trainer: pl.Trainer) -> Any:
    """What draws the batches from the loaders: an iterator that is new in each epoch, and looks one batch ahead."""
    return trainer.fit_loop._data_fetcher


def resume_within_epoch(trainer: pl.Trainer) -> int:
    """Batches of the epoch that a checkpoint's run had seen; tells Lightning's loops to finish it, if there are any.

    Otherwise nothing is left for it to finish: it would not step torch's plateau at the end of the epoch.
    """
    loop = trainer.fit_loop
    loop.restarting = False
    seen: int = loop.epoch_loop.batch_progress.current.ready
    loop.epoch_loop.restarting = seen > 0
    return seen


def settle(checkpoint: dict[str, Any], between_epochs: bool) -> None:
    """Puts Lightning's counters in a checkpoint as they are between two batches, or between two epochs.

    It would save those of the hook that saves, in the middle of a batch or an epoch, and guess from them at a restart
    what was done and what not.
    """
    loop = checkpoint["loops"]["fit_loop"]
    epochs, batches = loop["epoch_progress"], loop["epoch_loop.batch_progress"]
    if between_epochs:
        for part in ("total", "current"):
            done = epochs[part]["processed"]
            epochs[part] = dict.fromkeys(epochs[part], done)
        batches["current"] = dict.fromkeys(batches["current"], 0)
    else:
        for part in ("total", "current"):
            batches[part]["ready"] = batches[part]["completed"]
    batches["is_last_batch"] = False


def batches_of_open_epoch(checkpoint: dict[str, Any]) -> int:
    """Batches that the epoch had seen in which a checkpoint was written; 0 between two epochs."""
    return int(checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["ready"])


def reopen(checkpoint: dict[str, Any], batches: int) -> None:
    """Reopens the epoch that a checkpoint has closed, as one in which this many batches were seen."""
    loop = checkpoint["loops"]["fit_loop"]
    for part in ("total", "current"):
        for count in ("processed", "completed"):
            loop["epoch_progress"][part][count] -= 1
    progress = loop["epoch_loop.batch_progress"]
    progress["current"] = dict.fromkeys(progress["current"], batches)


def allow_clipping(optimizer: Optimizer) -> None:
    """Lets Lightning clip the gradients of a fused optimizer, which it refuses in mixed precision.

    It takes every optimizer that could unscale gradients itself for one that will, with or without a scaler.
    """
    optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]


def unscales_itself(optimizer: Optimizer) -> bool:
    """Whether the optimizer could take scaled gradients."""
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False))


def keep_hyperparameters_from_loggers(module: pl.LightningModule | pl.LightningDataModule) -> None:
    """Keeps Lightning from giving loggers what ``save_hyperparameters`` has saved, as we tell them more."""
    module._log_hyperparams = False


def logged_in_epoch(trainer: pl.Trainer) -> dict[str, Any]:
    """What a module has logged by epoch in the loop that has just ended; `callback_metrics` keeps older values too."""
    results = trainer._results
    now = {} if results is None else results.metrics(on_step=False)["callback"]
    # Of several loaders each is read when it ends.
    several = {name: value for name, value in trainer.callback_metrics.items() if "/dataloader_idx_" in name}
    return several | {name: value for name, value in now.items() if isinstance(value, Tensor)}


def loss_of_batch(trainer: pl.Trainer, outputs: Any) -> Tensor:
    """The loss that a training step returned: Lightning has divided it by the batches whose gradients are added up."""
    loss: Tensor = outputs["loss"]
    return loss * trainer.accumulate_grad_batches


def logs_this_step(trainer: pl.Trainer) -> bool:
    """Whether Lightning gives the loggers what was logged in this step."""
    return bool(trainer._logger_connector.should_update_logs)


def has_onednn_linear() -> bool:
    """Whether this build of torch has `onednn_linear`."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def onednn_linear(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``input @ weight.T + bias`` by oneDNN, of plain tensors in float32 on a CPU; torch's compiler uses it."""
    output: Tensor = torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")
    return output
