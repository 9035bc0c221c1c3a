"""The end of a run: what brought it where it was not planned, and how a run that is extended goes past it.

The horizon is a plan. A time limit, early stopping or a callback can end a run before it, and then its schedule has not
decayed as far as its name says.
"""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping, Timer

from lrdecay.training import internals


def ended_by(trainer: pl.Trainer, planned: int) -> str | None:
    """What ended the training at another step than planned; ``None`` where nothing did.

    Args:
        trainer: has trained.
        planned: optimizer steps, T.
    """
    if trainer.global_step == planned:
        return None
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Timer) and (callback.time_remaining() or 1) <= 0:
            return "time limit"
        if isinstance(callback, EarlyStopping) and callback.stopping_reason.value:
            return "early stopping"
    if trainer.should_stop:
        return "stopped by a callback"
    return "fewer batches than announced" if trainer.global_step < planned else "more batches than announced"


def forget_the_end(checkpoint: dict[str, Any], trainer: pl.Trainer) -> None:
    """Makes callbacks that had ended a run count from the beginning when it is extended, as they are configured now.

    Args:
        checkpoint: changed in its place.
        trainer: will restore it.
    """
    states = checkpoint.get("callbacks", {})
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Timer):
            states.pop(callback.state_key, None)
        if isinstance(callback, EarlyStopping) and (state := states.get(callback.state_key)):
            # Of what it keeps only the best score is the run's; the rest is the wish to stop, and its own patience.
            states[callback.state_key] = callback.state_dict() | {"best_score": state["best_score"]}


def reopen_epoch(checkpoint: dict[str, Any], accumulated: int) -> None:
    """Makes of a checkpoint of a run that ended within an epoch one that was written within it.

    Lightning closes the epoch, and would begin the next: the batches that it had not reached would be left out.

    Args:
        checkpoint: changed in its place.
        accumulated: batches of an optimizer step.
    """
    own = checkpoint["lrdecay"]
    rows, horizon = own["epochs"], own["horizon"]
    if not rows or horizon is None or internals.batches_of_open_epoch(checkpoint):
        return
    steps = rows[-1]["step"] - (rows[-2]["step"] if len(rows) > 1 else -1)
    if steps >= horizon["steps_per_epoch"]:
        return
    rows.pop()
    internals.reopen(checkpoint, steps * accumulated)
    for name, state in checkpoint.get("callbacks", {}).items():
        if name.startswith("RecordKeeper") and state["epochs"]:
            state["epoch"] = state["epochs"].pop()
