"""``hydra/launcher=slurm``: the jobs of a sweep as an array job of Slurm.

Before its time limit a job writes a checkpoint, is requeued, and resumes. submitit writes the script, submits it and
keeps what jobs return; whether a job is still there is asked of ``squeue``, since ``sacct`` needs a database that
not every cluster has.

Imported at every start of ``train.py``, so nothing heavy is imported here.
"""

import contextlib
import getpass
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn
from omegaconf import OmegaConf

from lrdecay.errors import ConfigError, require_integer
from lrdecay.sweeps.grid import Source
from lrdecay.sweeps.launching import JobLauncher
from lrdecay.sweeps.shares import processes_of

if TYPE_CHECKING:
    from lrdecay.sweeps.slurm_queue import Queue

MANY = 1_000_000
"""Jobs at a time, where Slurm alone decides."""


class SlurmLauncher(JobLauncher):
    """Submits the jobs to Slurm, and waits for them.

    Args:
        partition, account, qos: as Slurm has them; ``None`` for its defaults.
        time: minutes until Slurm ends a job; what takes longer is requeued.
        grace: seconds before that at which a job writes its checkpoint.
        requeues: how often a job may be requeued at its time limit.
        cpus: of each process of a job, and its threads.
        gpus: of each job on each node.
        memory: GB of each job on each node; ``None`` for Slurm's default.
        at_a_time: jobs at a time; ``None`` for as many as Slurm starts. A search needs it.
        modules: loaded first, ``module load NAME``.
        setup: lines of shell that come next.
        parameters: other options of ``sbatch``, by name.
        wait: whether to wait for the jobs; otherwise ``scripts/compare.py`` tells later what there is.

    Raises:
        ConfigError: a value cannot be used, or there is no Slurm.
    """

    def __init__(
        self, partition: str | None = None, account: str | None = None, qos: str | None = None, time: int = 60,
        grace: int = 120, requeues: int = 100, cpus: int = 1, gpus: int = 0, memory: float | None = None,
        at_a_time: int | None = None, modules: Sequence[str] = (), setup: Sequence[str] = (),
        parameters: Mapping[str, Any] | None = None, wait: bool = True,
    ) -> None:  # fmt: skip
        for key, value, least in (
            ("time", time, 1), ("grace", grace, 1), ("cpus", cpus, 1), ("gpus", gpus, 0), ("requeues", requeues, 0),
        ):  # fmt: skip
            require_integer(f"hydra.launcher.{key}", value, least)
        require_integer("hydra.launcher.at_a_time", at_a_time, optional=True)
        if memory is not None and (isinstance(memory, bool) or not isinstance(memory, int | float) or memory <= 0):
            raise ConfigError(f"hydra.launcher.memory={memory}: must be a number of GB above 0, or null")
        for key, lines in (("modules", modules), ("setup", setup)):
            if isinstance(lines, str) or not all(isinstance(line, str) for line in lines):
                raise ConfigError(f"hydra.launcher.{key}={lines}: must be a list of strings, such as [a,b]")
        if not isinstance(wait, bool):
            raise ConfigError(f"hydra.launcher.wait={wait}: must be true or false")
        if grace + 60 >= 60 * time:  # Slurm may send its signal a minute early
            raise ConfigError(
                f"hydra.launcher.grace={grace}: must be at least a minute below the time limit, {60 * time} seconds"
            )
        self.waits, self.at_a_time, self.requeues = wait, at_a_time, requeues
        self.cpus, self.gpus = cpus, gpus
        self._options = {
            "slurm_partition": partition, "slurm_account": account, "slurm_qos": qos, "slurm_time": time,
            "slurm_signal_delay_s": grace, "cpus_per_task": cpus, "slurm_gpus_per_node": gpus or None,
            "mem_gb": memory, "slurm_array_parallelism": at_a_time or MANY,
            "slurm_setup": [*(f"module load {name}" for name in modules), *setup] or None,
            "slurm_additional_parameters": {"requeue": True, **(parameters or {})},
        }  # fmt: skip
        self._listed = False

    def launch_numbered(self, jobs: Sequence[tuple[int, Sequence[str]]]) -> Sequence[JobReturn]:
        self._listed = True
        return super().launch_numbered(jobs)

    def launch_from(self, jobs: Source) -> Sequence[JobReturn]:
        """Runs jobs as they come, and gives what they returned in the order of their numbers.

        Raises:
            ConfigError: they come one after the other, and nothing says how many may run at a time.
        """
        if not self._listed and self.at_a_time is None:
            raise ConfigError(
                "hydra.launcher.at_a_time=null: must be an integer with hydra/sweeper=optuna, which chooses "
                "trials by those that have ended"
            )
        if not self._listed and not self.waits:
            raise ConfigError("hydra.launcher.wait=false: cannot be combined with hydra/sweeper=optuna")
        return super().launch_from(jobs)

    @contextlib.contextmanager
    def pool(self, bars: Any) -> "Iterator[Queue]":
        """Slurm's queue."""
        from lrdecay.sweeps.slurm_queue import FOLDER, Queue

        folder = Path(self.config.hydra.sweep.dir).absolute() / FOLDER
        at_a_time = sys.maxsize if self._listed else self.at_a_time or 1
        yield Queue(self._executor(folder), folder, at_a_time, self.requeues, self.cpus, self.waits, bars)

    def _executor(self, folder: Path) -> Any:
        """What submits jobs.

        Raises:
            ConfigError: submitit is not installed, or Slurm is not there.
        """
        try:
            import submitit
        except ModuleNotFoundError as error:
            raise ConfigError('hydra/launcher=slurm: needs submitit: pip install -e ".[slurm]"') from error
        if missing := [name for name in ("sbatch", "squeue", "srun", "scancel") if shutil.which(name) is None]:
            raise ConfigError(f"hydra/launcher=slurm: there is no {missing[0]} on this machine")
        from lrdecay.sweeps.slurm_queue import ask

        ask("squeue", "--noheader", "--user", getpass.getuser())  # whether the controller answers
        trainer: Any = OmegaConf.select(self.config, "trainer") or {}
        options = self._options | {
            "nodes": trainer.get("num_nodes", 1),
            "tasks_per_node": max(processes_of(trainer), self.gpus if _all_devices(trainer) else 1),
            "name": Path(self.config.hydra.sweep.dir).name,
        }
        executor = submitit.AutoExecutor(folder=folder, cluster="slurm")
        executor.update_parameters(**{key: value for key, value in options.items() if value is not None})
        return executor


def _all_devices(trainer: Any) -> bool:
    """Whether a trainer takes all GPUs that a job has."""
    on_gpus = trainer.get("accelerator", "auto") in ("auto", "gpu", "cuda")
    return on_gpus and str(trainer.get("devices", 1)) in ("auto", "-1")
