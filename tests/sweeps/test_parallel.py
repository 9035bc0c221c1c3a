"""``hydra/launcher=parallel``, run as a user would."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from support.programs import ROOT

from lrdecay.machine import visible_gpus
from lrdecay.records.record import read
from lrdecay.sweeps.shares import shares

PARALLEL = "hydra/launcher=parallel"

# A callback for the jobs, on PYTHONPATH.
KILLER = """
import os, signal
from pytorch_lightning import Callback

class Killer(Callback):
    def __init__(self, seed, mine): self.mine = seed == mine
    def on_train_epoch_end(self, trainer, module):
        if self.mine: os.kill(os.getpid(), signal.SIGKILL)
"""


def records(folder: Path) -> dict:
    return {path.parent.name: read(path) for path in sorted((folder / "outputs").glob("sweeps/*/*/record.json"))}


def start(folder: Path, *shell: str, before: str = "", **options) -> subprocess.Popen[str]:
    """A parallel sweep of two long jobs, in a shell that first does something, returned when both are training."""
    command = f"{before}exec {sys.executable} {ROOT / 'train.py'} -m data=digits {PARALLEL} hydra.launcher.processes=2"
    command += " seed=1,2 trainer.max_epochs=100000"
    process = subprocess.Popen(
        [*(shell or ("sh", "-c")), command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )
    deadline = time.monotonic() + 120
    while sum(bool(record.progress.epochs) for record in records(folder).values()) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return process


def ended(folder: Path, seconds: float) -> set[str]:
    """How the jobs ended, waiting for it so long."""
    deadline = time.monotonic() + seconds
    while True:
        statuses = {record.outcome.status for record in records(folder).values()}
        if "running" not in statuses or time.monotonic() > deadline:
            return statuses
        time.sleep(0.2)


def test_the_results_are_those_of_a_series_to_the_last_bit(train, tmp_path):
    what = ["schedule=step,cosine", "seed=1,2", "trainer.max_epochs=2", "process.threads=1"]
    parallel = train("-m", PARALLEL, "hydra.launcher.processes=2", *what, "name=parallel")
    assert parallel.returncode == 0, parallel.stderr
    assert "\n[4/4] cosine seed=2: test/acc " in parallel.stdout
    assert parallel.stderr == ""
    assert parallel.stdout.splitlines()[1:3] == ["[1/4] step seed=1", "[2/4] step seed=2"], "side by side"
    series = train("-m", *what, "name=series")
    assert series.returncode == 0, series.stderr
    names = sorted(folder.name for folder in (tmp_path / "outputs/sweeps/series").iterdir() if folder.is_dir())
    assert names == ["01_step_seed-1", "02_step_seed-2", "03_cosine_seed-1", "04_cosine_seed-2"]
    for name in names:
        one, other = (tmp_path / f"outputs/sweeps/{sweep}/{name}" for sweep in ("parallel", "series"))
        assert (one / "metrics.csv").read_bytes() == (other / "metrics.csv").read_bytes()
        weights, theirs = (
            torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for folder in (one, other)
        )
        assert weights.keys() == theirs.keys()
        assert all(torch.equal(weights[key], theirs[key]) for key in weights)
    assert {record.plan.threads for record in records(tmp_path).values()} == {1}


def test_a_job_that_fails_or_is_killed_leaves_the_others_their_results(train, tmp_path):
    (tmp_path / "killer.py").write_text(KILLER)
    killer = ["+callbacks.killer._target_=killer.Killer", "+callbacks.killer.seed=${seed}", "+callbacks.killer.mine=2"]
    what = ["schedule=step", "schedule.gamma=0.1,-1", "seed=1,2", "trainer.max_epochs=2"]
    done = train("-m", PARALLEL, "hydra.launcher.processes=2", *what, *killer, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    outcomes = {name: (record.outcome.status, record.outcome.error) for name, record in records(tmp_path).items()}
    gamma = "schedule.gamma=-1: must be a number in (0, 1]"
    assert outcomes == {
        "01_gamma-0.1_seed-1": ("completed", None),
        "02_gamma-0.1_seed-2": ("failed", "killed by SIGKILL"),
        "03_gamma-1_seed-1": ("failed", gamma),
        "04_gamma-1_seed-2": ("failed", gamma),
    }
    assert "[2/4] schedule.gamma=0.1 seed=2: failed: killed by SIGKILL" in done.stdout
    assert done.stderr.splitlines()[-1] == "error: 3 of 4 jobs did not complete"
    assert (next((tmp_path / "outputs/sweeps").iterdir()) / "comparison.png").is_file()


def test_ctrl_c_interrupts_every_job(tmp_path):
    sweep = start(tmp_path)
    os.killpg(sweep.pid, signal.SIGINT)  # as a terminal does
    _, stderr = sweep.communicate(timeout=20)
    assert sweep.returncode == 130
    assert ended(tmp_path, 0) == {"interrupted"}
    assert stderr.count("interrupted by SIGINT → ") == 2
    assert "Traceback" not in stderr


def test_ctrl_c_on_a_terminal_where_progress_is_drawn(tmp_path):
    terminal = start(tmp_path, "script", "-qefc", stdin=subprocess.PIPE)
    stdout, _ = terminal.communicate("\x03", timeout=20)
    assert terminal.returncode == 130
    assert ended(tmp_path, 0) == {"interrupted"}
    assert "Traceback" not in stdout


def test_the_jobs_end_when_the_launcher_is_killed(tmp_path):
    # As under a shell that runs it in the background, where Ctrl-C is to be ignored.
    sweep = start(tmp_path, before="trap '' INT; ")
    sweep.kill()
    sweep.communicate(timeout=20)
    assert ended(tmp_path, 20) == {"interrupted"}


def test_the_jobs_share_one_display(tmp_path):
    command = f"{sys.executable} {ROOT / 'train.py'} -m data=digits {PARALLEL} hydra.launcher.processes=2"
    command += " seed=1,2 trainer.max_epochs=20"
    done = subprocess.run(
        ["script", "-qec", f"stty cols 120; {command}", "/dev/null"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env=os.environ | {"TERM": "xterm"},
    )
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", done.stdout)
    for job in (1, 2):
        assert re.search(rf"\[{job}\] epoch \d+/20 .*\d+/360 steps · \d+/s · val/acc \d", drawn), drawn
    assert re.search(r"\[1\] epoch [^\n]*\r?\n\[2\] epoch", drawn), "one below the other"
    assert "[2/2] seed=2: test/acc" in drawn


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("processes=0", "processes=0: must be an integer, at least 1, or null"),
        ("threads=many", "threads=many: must be an integer, at least 1, or null"),
        ("gpus=2", "gpus=2: must be a list such as [0,1], or null"),
        ("gpus=[]", "gpus=[]: must be a list such as [0,1], or null"),
    ],
)
def test_a_value_that_cannot_be(train, key, message):
    done = train("-m", PARALLEL, "seed=1,2", f"hydra.launcher.{key}")
    assert done.returncode == 1
    assert done.stderr == f"error: hydra.launcher.{message}\n"


def test_a_job_has_one_device(train):
    done = train("-m", PARALLEL, "seed=1,2", "trainer=ddp_cpu")
    assert done.returncode == 1
    message = "error: trainer.devices=2: must be 1 with hydra/launcher=parallel, which gives each job one\n"
    assert done.stderr == message


def test_jobs_in_batches_have_the_same_threads(train, tmp_path):
    few = ["seed=1,2,3", "trainer.max_steps=1", "hydra.launcher.processes=2", "hydra.sweeper.max_batch_size=2"]
    done = train("-m", PARALLEL, *few)
    assert done.returncode == 0, done.stderr
    assert len({record.plan.threads for record in records(tmp_path).values()}) == 1
    assert "3 runs in 1 group" in done.stdout


def test_the_machine_is_shared_out(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert [share.threads for share in shares(8, None, [])] == [1] * 8
    assert [share.threads for share in shares(3, None, [])] == [2] * 3
    assert [share.threads for share in shares(16, None, [])] == [1] * 16
    assert [share.threads for share in shares(2, 3, [])] == [3, 3]
    assert [share.gpu for share in shares(5, None, ["0", "3"])] == ["0", "3", "0", "3", "0"]
    assert shares(2, None, ["0", "3"])[1].environment == {"OMP_NUM_THREADS": "4", "CUDA_VISIBLE_DEVICES": "3"}


@pytest.mark.parametrize(("named", "found"), [("1,3", ["1", "3"]), ("", []), ("-1", []), ("GPU-8ab", ["GPU-8ab"])])
def test_the_gpus_that_cuda_may_use(monkeypatch, named, found):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_gpus() == found


def test_each_job_sees_its_own_gpu(train, tmp_path):
    (tmp_path / "seen.py").write_text(
        "import os\nfrom lrdecay.training.models import MLP\n\ndef make(**sizes):\n"
        "    print('sees GPU', os.environ['CUDA_VISIBLE_DEVICES'])\n    print('the end', end='')\n"
        "    return MLP(hidden=[4])\n"
    )
    jobs = ["model._target_=seen.make", "seed=1,2,3,4", "trainer.max_epochs=1", "hydra.launcher.gpus=[0,5]"]
    done = train("-m", PARALLEL, *jobs, "trainer.accelerator=auto", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    seen = [line for line in done.stdout.splitlines() if line.startswith("sees")]
    assert sorted(set(seen)) == ["sees GPU 0", "sees GPU 5"]
    assert done.stdout.count("the end") == 4, "not even half a line is lost"
    assert len(records(tmp_path)) == 4


def test_the_record_says_what_was_done_to_the_process(train, tmp_path):
    done = train("-m", PARALLEL, "process.tune=true,false", "trainer.max_epochs=1", "process.threads=2")
    assert done.returncode == 0, done.stderr
    tuned, plain = (json.loads(path.read_text()) for path in sorted(tmp_path.rglob("record.json")))
    assert "denormal numbers flushed to 0" in tuned["process"]
    assert plain["process"] == []
    assert tuned["threads"] == plain["threads"] == 2
    assert tuned["epochs"] == plain["epochs"], "the same numbers"
    assert "2 runs in 2 groups" in done.stdout
