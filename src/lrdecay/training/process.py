"""The one place where something is done to the process that trains, rather than to the training.

It makes steps faster and leaves what they compute as it is, up to numbers below 1e-38. ``process.tune=false`` leaves
the process alone, and the record says what was done.
"""

import ctypes
import os

import torch

from lrdecay.errors import ConfigError

# <malloc.h>; older versions of glibc take no larger threshold for mmap than 32 MiB
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT, KEPT_BEFORE = 2**30, 2**25


def prepare_process(tune: bool, threads: int | None) -> list[str]:
    """Prepares this process for training; before anything is computed in it.

    Args:
        tune: whether to tune it, see `_tuned`.
        threads: CPU threads that compute; ``None`` for torch's own choice.

    Returns:
        What was done, in words.

    Raises:
        ConfigError: it was tuned for an earlier run, which cannot be undone.
    """
    if not tune and _flushes_denormals():
        raise ConfigError(
            "process.tune=False: must be true in a process that was tuned for an earlier run; "
            "sweep it with hydra/launcher=parallel, which gives each job a process"
        )
    if threads is not None:
        torch.set_num_threads(threads)
        os.environ["OMP_NUM_THREADS"] = str(threads)  # or Lightning sets it again in the processes of ddp
    return _tuned() if tune else []


def _flushes_denormals() -> bool:
    """Whether numbers below 1e-38 become 0 in this process."""
    return bool((torch.tensor([2e-38]) / 4).count_nonzero() == 0)


def _tuned() -> list[str]:
    done = []
    # glibc gives large blocks back to the system as soon as they are free, and each step pays to get them again, page
    # by page.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        kept = mallopt(M_MMAP_THRESHOLD, KEPT) or mallopt(M_MMAP_THRESHOLD, KEPT_BEFORE)
        if mallopt(M_TRIM_THRESHOLD, KEPT) and kept:
            done.append("freed memory kept")
    # Adam's averages of gradients that have become 0 sink below 1e-38, where processors are many times slower. The
    # threads that compute inherit it from the one that starts them.
    if torch.set_flush_denormal(True):
        done.append("denormal numbers flushed to 0")
    # Lightning asks for it, to count GPUs without initialising them; without a driver, optimizers then look for its
    # library at every step.
    if "PYTORCH_NVML_BASED_CUDA_CHECK" in os.environ and not torch.cuda.is_available():
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
        done.append("no search for a GPU at each step")
    return done
