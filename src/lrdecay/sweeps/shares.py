"""What each of the jobs that run side by side gets of the machine."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Share:
    """What one of the processes that run at a time has of the machine."""

    threads: int
    gpu: str | None

    @property
    def environment(self) -> dict[str, str]:
        gpu = {} if self.gpu is None else {"CUDA_VISIBLE_DEVICES": self.gpu}
        return {"OMP_NUM_THREADS": str(self.threads), **gpu}


def visible_gpus() -> list[str]:
    """The GPUs that CUDA programs may use, without starting CUDA in this process."""
    if (named := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [gpu for gpu in named.split(",") if gpu.strip() not in ("", "-1")]
    return [str(number) for number, _ in enumerate(Path("/dev").glob("nvidia[0-9]*"))]


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shares(processes: int, threads: int | None, gpus: Sequence[str]) -> list[Share]:
    """What each of the processes gets that run at a time.

    However few jobs there are, so that a job has the same threads, and the same result, in every sweep.
    """
    threads = threads or max(cores() // processes, 1)
    return [Share(threads, gpus[number % len(gpus)] if gpus else None) for number in range(processes)]
