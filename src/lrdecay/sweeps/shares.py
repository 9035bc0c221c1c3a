"""What each of the jobs that run side by side gets of the machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lrdecay.machine import cores


@dataclass(frozen=True)
class Share:
    """What one of the processes that run at a time has of the machine."""

    threads: int
    gpu: str | None

    @property
    def environment(self) -> dict[str, str]:
        gpu = {} if self.gpu is None else {"CUDA_VISIBLE_DEVICES": self.gpu}
        return {"OMP_NUM_THREADS": str(self.threads), **gpu}


def shares(processes: int, threads: int | None, gpus: Sequence[str]) -> list[Share]:
    """What each of the processes gets that run at a time.

    However few jobs there are, so that a job has the same threads, and the same result, in every sweep.
    """
    threads = threads or max(cores() // processes, 1)
    return [Share(threads, gpus[number % len(gpus)] if gpus else None) for number in range(processes)]


def processes_of(trainer: Mapping[str, Any]) -> int:
    """How many processes of one node a trainer's configuration asks for, as far as it says so."""
    devices = trainer.get("devices", 1)
    if isinstance(devices, str) and devices.isdecimal():
        devices = int(devices)
    if isinstance(devices, int):
        return max(devices, 1)
    return 1 if isinstance(devices, str) else len(devices)
