"""What every launcher promises, tried with each: real processes, a Ray cluster, a Slurm."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support import clusters, programs
from support.programs import Program

from lrdecay.machine import cores
from lrdecay.sweeps.ray_tasks import pack, unpack

SMALL = ["data=digits", "model=mlp", "model.hidden=[8]", "process.threads=1"]
TROUBLE = """
import os, signal, time
from pathlib import Path
import torch
from pytorch_lightning import Callback

class Trouble(Callback):
    '''Seed 2 fails, 3 diverges, 4 is killed, once.'''
    def __init__(self, seed): self.seed = seed
    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch != 2: return
        if self.seed == 2: raise RuntimeError("something else")
        if self.seed == 3: torch.nn.init.constant_(next(module.parameters()), float('nan'))
        if self.seed == 4 and not Path(trainer.default_root_dir, 'killed').exists():
            Path(trainer.default_root_dir, 'killed').touch()
            os.kill(os.getpid(), signal.SIGKILL)

class Where(Callback):
    '''Notes where it runs.'''
    def on_train_start(self, trainer, module):
        Path(trainer.default_root_dir, 'where').write_text(str(Path(trainer.default_root_dir).absolute()))

class Slow(Callback):
    '''Takes its time until there is a file.'''
    def __init__(self, file): self.file = Path(file)
    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step > 3 and not self.file.exists(): time.sleep(0.3)
"""


@dataclass
class Launcher:
    """A launcher with what it needs.

    Attributes:
        name: as ``hydra/launcher`` has it.
        words: overrides of its own.
        environment: of the sweep.
    """

    name: str
    words: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, folder: Path, *words: str) -> Program:
        (folder / "trouble.py").write_text(TROUBLE)
        environment = {"PYTHONPATH": str(folder)} | self.environment
        command = ["-m", f"hydra/launcher={self.name}", *self.words, *SMALL, "name=it", *words]
        return programs.start("train.py", *command, cwd=folder, apart=True, **environment)

    def run(self, folder: Path, *words: str) -> Program:
        program = self.start(folder, *words)
        program.wait()
        return program


@pytest.fixture(scope="module")
def ray() -> Iterator[Launcher]:
    pytest.importorskip("ray", reason="the ray extra is not installed")
    with clusters.ray_cluster(2) as cluster:
        yield Launcher("ray", [f"hydra.launcher.address={cluster.address}"], clusters.WITHOUT_TOKENS)


@pytest.fixture(scope="session")
def slurm(tmp_path_factory) -> Iterator[Launcher]:
    pytest.importorskip("submitit", reason="the slurm extra is not installed")
    if why := clusters.slurm_is_missing():
        pytest.skip(why)
    with clusters.slurm(Path(tmp_path_factory.mktemp("slurm"))) as environment:
        yield Launcher("slurm", [], environment)


@pytest.fixture(params=["basic", "parallel", "ray", "slurm"])
def launcher(request) -> Launcher:
    if request.param in ("ray", "slurm"):
        return request.getfixturevalue(request.param)
    return Launcher(request.param, ["hydra.launcher.processes=2"] if request.param == "parallel" else [])


def records(folder: Path) -> dict[str, dict]:
    return {
        file.parent.name: json.loads(file.read_text())
        for file in sorted((folder / "outputs/sweeps/it").glob("*/record.json"))
    }


def metrics(folder: Path, run: str) -> str:
    return (folder / "outputs/sweeps/it" / run / "metrics.csv").read_text()


def until(condition, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.fixture(scope="module")
def series(tmp_path_factory) -> Path:
    """The reference: one job after the other, in one process, without trouble."""
    folder = tmp_path_factory.mktemp("series")
    done = Launcher("basic").run(folder, "seed=1,4", "trainer.max_epochs=3")
    assert done.returncode == 0, done.stderr
    return folder


def test_a_job_that_fails_diverges_or_is_killed_costs_the_others_nothing(launcher, series, tmp_path):
    seeds = "1,2,3" if launcher.name == "basic" else "1,2,3,4"  # a series is one process
    trouble = ["+callbacks.trouble._target_=trouble.Trouble", "+callbacks.trouble.seed=${seed}"]
    done = launcher.run(tmp_path, f"seed={seeds}", "trainer.max_epochs=3", *trouble)
    assert done.returncode == 1, done.stderr
    outcomes = {name: (record["status"], record["error"]) for name, record in records(tmp_path).items()}
    assert outcomes["01_seed-1"] == ("completed", None)
    assert outcomes["02_seed-2"] == ("failed", "something else")
    assert outcomes["03_seed-3"][0] == "diverged"
    if launcher.name == "ray":  # starts it again
        assert outcomes["04_seed-4"] == ("completed", None)
        assert "[4] its worker or node died (WorkerCrashedError): started again" in done.stdout
        assert records(tmp_path)["04_seed-4"]["resumed"] == [{"step": 18}]
        assert metrics(tmp_path, "04_seed-4") == metrics(series, "02_seed-4")
    elif launcher.name != "basic":
        status, error = outcomes["04_seed-4"]
        assert status == "failed"
        assert error.startswith({"parallel": "killed by SIGKILL", "slurm": "FAILED; see "}[launcher.name])
    assert metrics(tmp_path, "01_seed-1") == metrics(series, "01_seed-1"), "to the last bit"
    failed = {"basic": "2 of 3", "ray": "2 of 4"}.get(launcher.name, "3 of 4")
    assert done.stderr.splitlines()[-1] == f"error: {failed} jobs did not complete"
    assert "Traceback" not in done.stderr
    assert (tmp_path / "outputs/sweeps/it/report.html").is_file()


def test_what_ctrl_c_interrupts_the_same_command_completes(launcher, series, tmp_path):
    slow = ["+callbacks.slow._target_=trouble.Slow", f"+callbacks.slow.file={tmp_path}/quick"]
    command = ["seed=1,4", "trainer.max_epochs=3", "callbacks.checkpoints.every_n_steps=5", *slow]
    sweep = launcher.start(tmp_path, *command)
    at_once = 1 if launcher.name == "basic" else 2
    until(lambda: len(list(tmp_path.glob("outputs/sweeps/it/*/checkpoints/last.ckpt"))) == at_once)
    second = launcher.run(tmp_path, *command)
    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr == "error: outputs/sweeps/it: in use by another process\n"
    sweep.signal(signal.SIGINT)
    assert sweep.wait(100) == 130, sweep.stderr
    assert {record["status"] for record in records(tmp_path).values()} == {"interrupted"}
    assert len(records(tmp_path)) == at_once
    assert "Traceback" not in sweep.stderr
    (tmp_path / "quick").touch()
    again = launcher.run(tmp_path, *command)
    assert again.returncode == 0, again.stderr
    done = records(tmp_path)
    assert done["01_seed-1"]["resumed"][0]["step"] > 0, "from the step where it was interrupted"
    for ours, theirs in (("01_seed-1", "01_seed-1"), ("02_seed-4", "02_seed-4")):
        assert done[ours]["status"] == "completed"
        assert metrics(tmp_path, ours) == metrics(series, theirs), "as if nothing had happened"
    once_more = launcher.run(tmp_path, *command)
    assert once_more.stdout.count("already complete") == 2


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("ray", ["address=127.0.0.1:9"], "address=127.0.0.1:9: there is no Ray cluster there"),
        ("ray", ["address=here"], "address=here: must be host:port, auto, or null"),
        ("ray", ["gpus=1.5"], "gpus=1.5: must be a whole number above 1"),
        ("ray", ["cpus=0"], "cpus=0: must be an integer, at least 1"),
        ("ray", ["cpus=null"], "cpus=None: must be an integer, at least 1"),
        ("ray", ["at_a_time=0"], "at_a_time=0: must be an integer, at least 1, or null"),
        ("ray", ["retries=-1"], "retries=-1: must be an integer, at least 0"),
        ("slurm", ["time=soon"], "time=soon: must be an integer, at least 1"),
        ("slurm", ["grace=3590"], "grace=3590: must be at least a minute below the time limit, 3600 seconds"),
        ("slurm", ["setup=ls"], "setup=ls: must be a list of strings, such as [a,b]"),
        ("slurm", ["wait=no_"], "wait=no_: must be true or false"),
        ("slurm", ["memory=0"], "memory=0: must be a number of GB above 0, or null"),
    ],
)
def test_a_value_that_cannot_be(tmp_path, name, words, message):
    done = Launcher(name).run(tmp_path, "seed=1,2", *(f"hydra.launcher.{word}" for word in words))
    assert done.returncode == 1
    assert done.stderr == f"error: hydra.launcher.{message}\n"
    assert records(tmp_path) == {}


@pytest.mark.parametrize(
    ("words", "package", "message"),
    [
        (["hydra/launcher=ray"], "ray", 'hydra/launcher=ray: needs Ray: pip install -e ".[ray]"'),
        (["hydra/launcher=slurm"], "submitit", 'hydra/launcher=slurm: needs submitit: pip install -e ".[slurm]"'),
        (["hydra/sweeper=optuna"], "optuna", 'hydra/sweeper=optuna: needs Optuna: pip install -e ".[optuna]"'),
    ],
)
def test_what_is_not_installed(tmp_path, words, package, message):
    (tmp_path / f"{package}.py").write_text(f"raise ModuleNotFoundError('No module named {package}')")
    command = ["-m", *words, *SMALL, "optimizer.lr=0.1,0.2", "name=it"]
    done = programs.fresh("train.py", *command, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == f"error: {message}\n"
    assert records(tmp_path) == {}


PAIRS = ("trainer=ddp_cpu", "trainer.max_epochs=3", "seed=1,4")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    """The reference for runs of two processes."""
    folder = tmp_path_factory.mktemp("pairs")
    done = Launcher("basic").run(folder, *PAIRS)
    assert done.returncode == 0, done.stderr
    return folder


class TestSeveralProcesses:
    """``trainer=ddp_cpu``: Ray's worker starts the second process, and Slurm both."""

    def test_under_ray(self, pairs, tmp_path):
        pytest.importorskip("ray", reason="the ray extra is not installed")
        if cores() < 2:
            pytest.skip("a node must have two CPUs")
        done = Launcher("ray", [], clusters.WITHOUT_TOKENS).run(tmp_path, *PAIRS)
        assert done.returncode == 0, done.stderr
        for run in ("01_seed-1", "02_seed-4"):
            assert metrics(tmp_path, run) == metrics(pairs, run)

    def test_under_slurm_that_tells_both_that_their_time_is_up(self, slurm, pairs, tmp_path):
        slow = ["+callbacks.slow._target_=trouble.Slow", f"+callbacks.slow.file={tmp_path}/quick"]
        sweep = slurm.start(tmp_path, *PAIRS, "callbacks.checkpoints.every_n_steps=5", *slow)
        until(lambda: list(tmp_path.glob("outputs/sweeps/it/01_seed-1/checkpoints/last.ckpt")))
        ask(slurm, "scancel", "--signal=USR2", submitted(tmp_path)["01_seed-1"])
        until(lambda: records(tmp_path)["01_seed-1"]["status"] == "interrupted")
        (tmp_path / "quick").touch()
        assert sweep.wait(250) == 0, sweep.stderr
        done = records(tmp_path)
        assert done["01_seed-1"]["resumed"][0]["step"] > 0
        assert [record["status"] for record in done.values()] == ["completed"] * 2
        assert metrics(tmp_path, "02_seed-4") == metrics(pairs, "02_seed-4")


class TestRay:
    def test_links_are_not_brought_back(self, tmp_path):
        (tmp_path / "run/sub").mkdir(parents=True)
        (tmp_path / "run/sub/kept").write_text("content")
        (tmp_path / "run/link").symlink_to("/etc/passwd")
        (tmp_path / "run/.lock").touch()
        (tmp_path / "run/sub/twin").hardlink_to(tmp_path / "run/sub/kept")  # as last.ckpt and best.ckpt may be
        unpack(pack(tmp_path / "run"), tmp_path / "back")
        assert sorted(file.name for file in tmp_path.glob("back/**/*")) == ["kept", "sub", "twin"]
        assert (tmp_path / "back/sub/twin").read_text() == "content"
        assert pack(tmp_path / "nothing"), "of a run that left nothing"

    def test_a_job_cannot_have_more_than_a_node(self, ray, tmp_path):
        for key, most in (("gpus=1", "0"), ("cpus=2", "1")):
            done = ray.run(tmp_path, "seed=1,2", f"hydra.launcher.{key}")
            message = f"hydra.launcher.{key}: must be at most what a node of the cluster has, {most}"
            assert done.stderr == f"error: {message}\n"

    def test_a_cluster_of_its_own(self, tmp_path):
        pytest.importorskip("ray", reason="the ray extra is not installed")
        done = Launcher("ray", [], clusters.WITHOUT_TOKENS).run(tmp_path, "seed=1,2", "trainer.max_epochs=1")
        assert done.returncode == 0, done.stderr
        assert [record["status"] for record in records(tmp_path).values()] == ["completed"] * 2
        assert done.stderr == ""

    def test_all_jobs_complete_when_a_node_is_lost(self, series, tmp_path):
        pytest.importorskip("ray", reason="the ray extra is not installed")
        slow = ["+callbacks.slow._target_=trouble.Slow", f"+callbacks.slow.file={tmp_path}/quick"]
        with clusters.ray_cluster(2) as cluster:
            two = Launcher("ray", [f"hydra.launcher.address={cluster.address}"], clusters.WITHOUT_TOKENS)
            sweep = two.start(
                tmp_path, "seed=1,2,3,4,5,6,7,8", "trainer.max_epochs=3", "callbacks.checkpoints.every_n_steps=5", *slow
            )
            until(lambda: len(list(tmp_path.glob("outputs/sweeps/it/*/checkpoints/last.ckpt"))) == 2)
            cluster.kill(1)
            until(lambda: "its worker or node died (NodeDiedError): started again" in sweep.stdout)
            (tmp_path / "quick").touch()
            assert sweep.wait(200) == 0, sweep.stderr
        done = records(tmp_path)
        assert [record["status"] for record in done.values()] == ["completed"] * 8
        assert any(record["resumed"] for record in done.values())
        for ours, theirs in (("01_seed-1", "01_seed-1"), ("04_seed-4", "02_seed-4")):
            assert metrics(tmp_path, ours) == metrics(series, theirs)

    def test_what_a_node_wrote_elsewhere_is_brought_back(self, series, tmp_path):
        pytest.importorskip("ray", reason="the ray extra is not installed")
        outputs = tmp_path / "outputs"
        outputs.mkdir()
        apart = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(outputs)]
        if os.geteuid() != 0 or subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
            pytest.skip("only root can give a process a file system of its own")
        where = ["+callbacks.where._target_=trouble.Where"]
        with clusters.ray_cluster(1) as cluster:
            cluster.start(f"--address={cluster.address}", wrapper=tuple(apart))
            two = Launcher("ray", [f"hydra.launcher.address={cluster.address}"], clusters.WITHOUT_TOKENS)
            done = two.run(tmp_path, "seed=1,4,5,6", "trainer.max_epochs=3", *where)
        assert done.returncode == 0, done.stderr
        folders = {Path(file.read_text()).parent for file in tmp_path.glob("outputs/sweeps/it/*/where")}
        assert tmp_path / "outputs/sweeps/it" in folders, "on the first node"
        assert len(folders) > 1, "on the second"
        assert not any(folder.exists() for folder in folders - {tmp_path / "outputs/sweeps/it"})
        for ours, theirs in (("01_seed-1", "01_seed-1"), ("02_seed-4", "02_seed-4")):
            assert metrics(tmp_path, ours) == metrics(series, theirs)
        assert all((tmp_path / f"outputs/sweeps/it/{run}/checkpoints/last.ckpt").is_file() for run in records(tmp_path))


class TestSlurm:
    def test_a_job_goes_on_when_its_time_is_up(self, slurm, series, tmp_path):
        slow = ["+callbacks.slow._target_=trouble.Slow", f"+callbacks.slow.file={tmp_path}/quick"]
        sweep = slurm.start(tmp_path, "seed=1,4", "trainer.max_epochs=3", *slow)
        until(lambda: len(list(tmp_path.glob("outputs/sweeps/it/*/checkpoints/last.ckpt"))) == 2)
        number = submitted(tmp_path)["01_seed-1"]
        (tmp_path / "quick").touch()
        ask(slurm, "scancel", "--signal=USR2", number)  # as Slurm does before the limit
        assert sweep.wait(200) == 0, sweep.stderr
        done = records(tmp_path)
        assert done["01_seed-1"]["resumed"][0]["step"] > 0
        for run in ("01_seed-1", "02_seed-4"):
            assert done[run]["status"] == "completed"
            assert metrics(tmp_path, run) == metrics(series, run)

    def test_a_job_that_is_cancelled_costs_the_others_nothing(self, slurm, tmp_path):
        slow = ["+callbacks.slow._target_=trouble.Slow", f"+callbacks.slow.file={tmp_path}/quick"]
        sweep = slurm.start(tmp_path, "seed=1,4", "trainer.max_epochs=3", *slow)
        until(lambda: len(list(tmp_path.glob("outputs/sweeps/it/*/checkpoints/last.ckpt"))) == 2)
        ask(slurm, "scancel", submitted(tmp_path)["01_seed-1"])
        until(lambda: records(tmp_path)["01_seed-1"]["status"] != "running")
        (tmp_path / "quick").touch()
        assert sweep.wait(200) == 1
        assert [record["status"] for record in records(tmp_path).values()] == ["interrupted", "completed"]
        assert sweep.stderr.splitlines()[-1] == "error: 1 of 2 jobs did not complete"

    @pytest.mark.parametrize("how", ["wait=false", "closes the terminal"])
    def test_whoever_does_not_wait_compares_later(self, slurm, tmp_path, how):
        slow = ["+callbacks.slow._target_=trouble.Slow", f"+callbacks.slow.file={tmp_path}/quick"]
        command = ["seed=1,4", "schedule=step,cosine", "trainer.max_epochs=3", *slow]
        done = slurm.start(tmp_path, *command, f"hydra.launcher.wait={str(how != 'wait=false').lower()}")
        until(lambda: done.output.is_file() and "submitted to Slurm as array job" in done.stdout)
        if how != "wait=false":
            done.signal(signal.SIGHUP)
        assert done.wait() == (0 if how == "wait=false" else 129), done.stderr
        assert not (tmp_path / "outputs/sweeps/it/report.html").exists()
        until(lambda: len(records(tmp_path)) == 2)
        (tmp_path / "quick").touch()
        waits = slurm.run(tmp_path, *command)  # for the same jobs
        assert waits.returncode == 0, waits.stderr
        assert "jobs in Slurm's queue since an earlier launch" in waits.stdout
        assert len({number.partition("_")[0] for number in submitted(tmp_path).values()}) == 1
        assert "4 runs in 2 groups" in waits.stdout

    def test_another_command_does_not_take_what_is_in_the_queue(self, slurm, tmp_path):
        slow = ["+callbacks.slow._target_=trouble.Slow", f"+callbacks.slow.file={tmp_path}/quick"]
        command = ["hydra.launcher.wait=false", "seed=1,4", *slow]
        assert slurm.run(tmp_path, *command, "trainer.max_epochs=3").returncode == 0
        other = slurm.run(tmp_path, *command, "trainer.max_epochs=4")
        assert other.returncode == 1
        assert "belongs to another command, " in other.stderr
        assert "trainer.max_epochs=3" in other.stderr
        ask(slurm, "scancel", *submitted(tmp_path).values())

    def test_what_sbatch_refuses_is_one_line(self, slurm, tmp_path):
        done = slurm.run(tmp_path, "seed=1,2", "hydra.launcher.partition=none_such")
        assert done.returncode == 1
        message = "hydra/launcher=slurm: sbatch: invalid partition specified: none_such"
        assert done.stderr.startswith(f"error: {message}")
        assert done.stderr.count("\n") == 1

    def test_a_slurm_that_is_down(self, slurm, tmp_path):
        there = Path(slurm.environment["SLURM_CONF"]).read_text()
        (tmp_path / "slurm.conf").write_text(re.sub("SlurmctldPort=.*", f"SlurmctldPort={clusters.free_port()}", there))
        done = Launcher("slurm", [], {"SLURM_CONF": str(tmp_path / "slurm.conf")}).run(tmp_path, "seed=1,2")
        assert done.returncode == 1
        message = "hydra/launcher=slurm: slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
        assert done.stderr == f"error: {message}\n"

    def test_more_gpus_than_there_are(self, slurm, tmp_path):
        done = slurm.run(tmp_path, "seed=1,2", "hydra.launcher.gpus=8")
        assert done.returncode == 1
        assert done.stderr.startswith("error: hydra/launcher=slurm: sbatch: ")
        assert done.stderr.count("\n") == 1

    def test_a_search_must_know_how_many_run_at_a_time(self, slurm, tmp_path):
        words = [
            "hydra/sweeper=optuna",
            "optimizer.lr=interval(0.001,0.1)",
            "hydra.sweeper.n_trials=3",
            "trainer.max_epochs=1",
        ]
        done = slurm.run(tmp_path, *words)
        assert done.returncode == 1
        assert done.stderr.startswith("error: hydra.launcher.at_a_time=null: must be an integer with hydra/sweeper=opt")
        found = slurm.run(tmp_path, *words, "hydra.launcher.at_a_time=2")
        assert found.returncode == 0, found.stderr
        assert "3 of 3 trials gave val/acc" in found.stdout


def submitted(folder: Path) -> dict[str, str]:
    """The ids in Slurm, by the name of the run's folder."""
    entries = json.loads((folder / "outputs/sweeps/it/.slurm/submitted.json").read_text())
    return {name: entry["id"] for name, entry in entries.items()}


def ask(slurm: Launcher, *command: str) -> None:
    subprocess.run(command, env=os.environ | slurm.environment, check=True, timeout=60)
