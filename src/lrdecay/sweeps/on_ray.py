"""``hydra/launcher=ray``: the jobs of a sweep as tasks of a Ray cluster, this machine's own or one that runs.

A job whose worker or node dies is started again, and resumes from its checkpoint. Nodes that do not see the folder of
the sweep run their jobs in a temporary one, which is brought back when they end: with such a node the checkpoints of
its jobs are lost, and they restart.

Imported at every start of ``train.py``, so nothing heavy is imported here.
"""

import contextlib
import logging
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from lrdecay.errors import ConfigError, require_integer
from lrdecay.machine import cores
from lrdecay.sweeps.launching import JobLauncher
from lrdecay.sweeps.shares import processes_of

if TYPE_CHECKING:
    from lrdecay.sweeps.ray_tasks import Tasks

TOKEN = Path("~/.ray/auth_token")
"""Where Ray keeps the token of this user's clusters."""
ANSWERS = 9.0
"""Seconds that a cluster has to answer at all."""


class RayLauncher(JobLauncher):
    """Runs the jobs as tasks of a Ray cluster, as many at a time as it has room for.

    Args:
        address: of a cluster that runs, ``host:port``, or ``auto`` for one that this machine belongs to; ``None``
            starts one on this machine, for as long as the sweep.
        cpus: CPUs, and threads, of each process of a job. Results are the same to the last bit as in series with as
            many threads.
        gpus: GPUs of each process, or a fraction of one; ``None`` for one where the cluster has any.
        at_a_time: jobs at a time; ``None`` for as many as there is room for.
        retries: how often a job may be started again whose worker or node dies.

    Raises:
        ConfigError: a value cannot be used, or Ray is not installed.
    """

    def __init__(
        self, address: str | None = None, cpus: int = 1, gpus: float | None = None, at_a_time: int | None = None,
        retries: int = 3,
    ) -> None:  # fmt: skip
        require_integer("hydra.launcher.cpus", cpus)
        require_integer("hydra.launcher.at_a_time", at_a_time, optional=True)
        require_integer("hydra.launcher.retries", retries, least=0)
        if gpus is not None and (isinstance(gpus, bool) or not isinstance(gpus, int | float) or gpus < 0):
            raise ConfigError(f"hydra.launcher.gpus={gpus}: must be a number, at least 0, or null")
        if gpus is not None and gpus > 1 and gpus != int(gpus):
            raise ConfigError(f"hydra.launcher.gpus={gpus}: must be a whole number above 1")
        if address not in (None, "auto") and not re.fullmatch(r"[^:/]+:\d+", str(address)):
            raise ConfigError(f"hydra.launcher.address={address}: must be host:port, auto, or null")
        self.address, self.cpus, self.gpus = address, cpus, gpus
        self.at_a_time, self.retries = at_a_time, retries

    @contextlib.contextmanager
    def pool(self, bars: Any) -> "Iterator[Tasks]":
        """Tasks of the cluster, which is connected to, or started, for as long as it lasts."""
        from lrdecay.sweeps.ray_tasks import Tasks

        trainer: Any = OmegaConf.select(self.config, "trainer") or {}
        if trainer.get("num_nodes", 1) != 1:
            raise ConfigError(f"trainer.num_nodes={trainer.num_nodes}: must be 1 with hydra/launcher=ray")
        folder = Path(self.config.hydra.sweep.dir).absolute()
        with _connected(self.address) as ray:
            needs = self._needs(ray, trainer)
            with _token(folder) as token:
                yield Tasks(ray, needs, folder, token, self.cpus, self.at_a_time, self.retries, bars)

    def _needs(self, ray: Any, trainer: Any) -> dict[str, float]:
        """What a job takes, by resource.

        Raises:
            ConfigError: no node has as much.
        """
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpus = self.gpus
        if gpus is None:
            there = any(node.get("GPU") for node in nodes)
            gpus = 1 if there and trainer.get("accelerator", "auto") in ("auto", "gpu", "cuda") else 0
        processes = processes_of(trainer)
        needs = {"CPU": float(self.cpus * processes), "GPU": gpus * processes}
        for name, key in (("CPU", "cpus"), ("GPU", "gpus")):
            most = max((node.get(name, 0) for node in nodes), default=0)
            if needs[name] > most:
                each = f" for each of {processes} processes" if processes > 1 else ""
                raise ConfigError(
                    f"hydra.launcher.{key}={needs[name] / processes:g}{each}: must be at most what a node of the "
                    f"cluster has, {most:g}"
                )
        return needs


@contextlib.contextmanager
def _token(folder: Path) -> Iterator[str]:
    """A file in a folder, while it lasts, by which a node knows that it sees the same folder."""
    token = folder / f".shared-{uuid.uuid4().hex}"
    try:
        token.touch()
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written to: {error.strerror}") from error
    try:
        yield token.name
    finally:
        token.unlink(missing_ok=True)


@contextlib.contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    """Ray, connected to a cluster.

    Raises:
        ConfigError: Ray is not installed, or there is no cluster.
    """
    # Read when Ray is imported: nothing is reported to anybody, and a cluster that was started beside a token has that.
    environment = {"RAY_USAGE_STATS_ENABLED": "0"}
    if address is not None and TOKEN.expanduser().is_file():
        environment["RAY_AUTH_MODE"] = "token"
    os.environ |= {name: value for name, value in environment.items() if name not in os.environ}
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ConfigError('hydra/launcher=ray: needs Ray: pip install -e ".[ray]"') from error
    if address is not None:
        _check_health(address)
    own: dict[str, Any] = {"num_cpus": cores(), "include_dashboard": False} if address is None else {}
    try:
        ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise ConfigError(f"hydra.launcher.address={address}: {str(error).strip().splitlines()[0]}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_health(address: str) -> None:
    """Refuses an address where no cluster answers; Ray itself would try for minutes.

    Raises:
        ConfigError: none does.
    """
    asked = [] if address == "auto" else ["--address", address]
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", *asked]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWERS, check=False)
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"hydra.launcher.address={address}: there is no Ray cluster there") from error
    if done.returncode:
        token = "AuthToken" in done.stdout + done.stderr
        why = "the cluster there wants a token, RAY_AUTH_TOKEN" if token else "there is no Ray cluster there"
        raise ConfigError(f"hydra.launcher.address={address}: {why}")
