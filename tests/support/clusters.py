"""A Ray cluster of several nodes, and a Slurm of one, as real processes on this machine."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

SLURM_NEEDS = ("slurmctld", "slurmd", "munged", "sbatch")
WITHOUT_TOKENS = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}


class RayCluster:
    """Nodes of one CPU each; the first is the head.

    Attributes:
        address: where the sweep connects.
        nodes: their processes.
    """

    def __init__(self, folder: Path, nodes: int) -> None:
        self.folder = folder
        self.address = f"127.0.0.1:{free_port()}"
        self.nodes: list[subprocess.Popen] = []
        port = self.address.rpartition(":")[2]
        self.start("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}")
        for _ in range(nodes - 1):
            self.start(f"--address={self.address}")

    def start(self, *options: str, wrapper: tuple[str, ...] = ()) -> None:
        """Starts a node, and waits until the cluster has it."""
        command = [*wrapper, sys.executable, "-m", "ray.scripts.scripts", "start", "--num-cpus=1", "--block", *options]
        file = self.folder / f"node-{len(self.nodes)}.log"
        with file.open("w") as log:
            self.nodes.append(
                subprocess.Popen(
                    command, stdout=log, stderr=log, start_new_session=True, env=os.environ | WITHOUT_TOKENS
                )
            )
        deadline = time.monotonic() + 60
        while "Ray runtime started" not in file.read_text():
            assert time.monotonic() < deadline, file.read_text()
            time.sleep(0.2)

    def kill(self, node: int) -> None:
        """Ends all processes of a node at once, as a power cut does."""
        for process in reversed(descendants(self.nodes[node].pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.nodes[node].wait()

    def stop(self) -> None:
        for node, process in enumerate(self.nodes):
            if process.poll() is None:
                self.kill(node)


@contextlib.contextmanager
def ray_cluster(nodes: int) -> Iterator[RayCluster]:
    """A cluster, while it lasts."""
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:  # of a short name, as sockets lie in it
        cluster = RayCluster(Path(folder), nodes)
        try:
            yield cluster
        finally:
            cluster.stop()


def descendants(process: int) -> list[int]:
    """A process and all that it has started."""
    found = [process]
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        for child in task.read_text().split():
            found += descendants(int(child))
    return found


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def slurm_is_missing() -> str | None:
    """Why no Slurm can be started here; ``None`` where one can."""
    if os.geteuid() != 0:
        return "a Slurm is started as root only"
    missing = [name for name in SLURM_NEEDS if shutil.which(name) is None]
    return f"there is no {missing[0]}: apt-get install slurm-wlm munge" if missing else None


@contextlib.contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """A Slurm of one node with 2 CPUs, while it lasts; the environment in which its commands find it."""
    script = Path(__file__).with_name("slurm_one_node.sh")
    environment = {"SLURM_CONF": str(folder / "slurm.conf")}
    ports = {"SLURMCTLD_PORT": str(free_port()), "SLURMD_PORT": str(free_port())}
    subprocess.run([script, "start", folder], env=os.environ | ports, check=True, timeout=60)
    try:
        yield environment
    finally:
        subprocess.run(["scancel", "--user=root"], env=os.environ | environment, check=False, timeout=60)
        subprocess.run([script, "stop", folder], check=True, timeout=60)
