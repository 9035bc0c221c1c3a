"""Lightning's warnings about what is meant to be as it is here."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

EXPECTED = (
    r"The number of training batches \(",  # the last batch of an epoch is logged, whatever log_every_n_steps
    r"Detected call of `lr_scheduler.step\(\)` before",  # batches whose gradients are accumulated are steps of it too
    r"When using `Trainer\(accumulate_grad_batches != 1\)` and overriding",  # `ScheduledModule` does
    "It is recommended to use .*sync_dist",  # the journal reduces over processes itself
    ".*LeafSpec",  # Lightning's own use of torch
    r"Be aware that when using `ckpt_path`.*\['(Timer|EarlyStopping)",  # an extension may lift them
    "The `srun` command is available",  # on a login node, where short runs are tried
    "You're resuming from a checkpoint that ended before",  # `Order` handles it, or says that it cannot
)


@contextmanager
def without_expected_warnings() -> Iterator[None]:
    """Filters them out while it lasts."""
    with warnings.catch_warnings():
        for message in EXPECTED:
            warnings.filterwarnings("ignore", message=message)
        yield
