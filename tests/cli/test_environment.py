"""What differs between machines and people: flags, folders, variables, ranks, files that others wrote."""

import inspect
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest
import pytorch_lightning as pl
import yaml
from support import programs
from support.programs import ROOT
from support.runs import SMALL, the_run

from lrdecay.config.overrides import MOST_BYTES, accepted, flags, job_name
from lrdecay.records.identity import LIGHTNING_DEFAULTS
from lrdecay.records.locks import RANKS, rank
from lrdecay.records.record import read

ONE = [*SMALL, "trainer.max_epochs=1"]


def train(folder: Path, *arguments: str, prepare=None) -> programs.Program:
    return programs.run("train.py", *arguments, cwd=folder, prepare=prepare)


class Variables:
    """Environment variables of the process, ``None`` for one that is not set."""

    def __init__(self, **values: str | None) -> None:
        self.values = values

    def __call__(self) -> None:
        for name, value in self.values.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@pytest.mark.parametrize("flag", ["-m", "--multirun", "--multi", "--mul", "--m"])
@pytest.mark.parametrize("last", [False, True])
def test_every_way_to_ask_for_a_sweep(flag, last, tmp_path):
    words = [*ONE, "seed=1,2", "name=s"]
    done = train(tmp_path, *([*words, flag] if last else [flag, *words]))
    assert done.process.exitcode == 0, done.text
    assert len(list(tmp_path.glob("outputs/sweeps/s/*/record.json"))) == 2


@pytest.mark.parametrize("form", ["--config-dir conf", "--config-dir=conf", "-cd conf", "--config-d conf"])
def test_where_the_configuration_lies_reaches_other_processes(form):
    assert flags(["-m", *form.split(), "seed=1"]) == ["--config-dir=conf"]


def test_a_plus_before_a_key_of_the_trainer_stays_allowed():
    assert accepted(["seed=1", "+trainer.max_time=x", "+model.x=1", "-m"]) == [
        "-m", "seed=1", "++trainer.max_time=x", "+model.x=1",
    ]  # fmt: skip


@pytest.mark.parametrize("form", ["job", "hydra", "all"])
@pytest.mark.parametrize("resolve", [(), ("--resolve",)])
def test_showing_the_configuration_makes_nothing(form, resolve, tmp_path):
    done = train(tmp_path, "--cfg", form, *resolve, "name=x")
    assert done.process.exitcode == 0, done.text
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".output")]


@pytest.mark.parametrize("flag", ["--resolve", "--experimental-rerun=nothing", "-mr"])
def test_flags_that_cannot_be_are_one_line(flag, tmp_path):
    done = train(tmp_path, flag)
    assert done.process.exitcode == 1
    assert done.text.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.text


@pytest.mark.parametrize("logging", ["default", "stdout", "none", "disabled"])
def test_any_of_hydras_ways_to_log(logging, tmp_path):
    assert train(tmp_path, *ONE, f"hydra/job_logging={logging}").process.exitcode == 0


@pytest.mark.parametrize("launcher", ["basic", "parallel"])
def test_jobs_in_their_own_working_directories(launcher, tmp_path):
    done = train(tmp_path, "-m", *ONE, "hydra.job.chdir=true", "seed=1,2", "name=s", f"hydra/launcher={launcher}")
    assert done.process.exitcode == 0, done.text
    assert "outputs/sweeps/s/report.html" in done.text
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")} == {"outputs"}


def test_relative_paths_are_those_of_the_command_line(mnist_root, tmp_path):
    (tmp_path / "here").symlink_to(mnist_root)
    small = ["data.train_size=64", "data.val_size=64", "model=mlp", "trainer.max_epochs=1", "hydra.run.dir=run"]
    done = train(tmp_path, "data.root=here", "hydra.job.chdir=true", *small)
    assert read(tmp_path / "run/record.json").plan.data == "mnist", done.text
    again = train(tmp_path, "resume=run", "hydra.job.chdir=true")
    assert "already complete" in again.text
    assert again.text.rstrip().endswith("→ run")


@pytest.mark.parametrize("group", ["schedule", "optimizer", "model", "data", "trainer"])
@pytest.mark.parametrize("mode", [(), ("-m", "seed=1,2")])
def test_a_group_that_was_taken_out(group, mode, tmp_path):
    done = train(tmp_path, *mode, f"~{group}")
    assert done.text == f"error: {group}: must be one of its choices, which --help lists; ~{group} cannot remove it\n"
    assert done.process.exitcode == 1
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("key", ["seed", "metric", "output_dir", "on_divergence", "trust", "process.tune"])
@pytest.mark.parametrize("mode", [(), ("-m", "schedule=constant,step")])
def test_a_key_that_was_taken_out(key, mode, tmp_path):
    done = train(tmp_path, *mode, f"~{key}")
    assert done.text == f"error: {key}: must be given; ~{key} takes it out\n"
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("keys", [["callbacks", "logger", "scale"], ["data.batch_size", "optimizer.lr"]])
def test_what_can_be_taken_out_has_a_default(keys, tmp_path):
    assert train(tmp_path, *ONE, *(f"~{key}" for key in keys)).process.exitcode == 0


@pytest.mark.parametrize(
    ("varied", "key", "choice", "number"),
    [
        (["schedule=step,cosine", "schedule.gamma=0.1,0.5"], "schedule.gamma", "schedule=cosine", "job 3 of 4"),
        (["optimizer=adam,sgd", "optimizer.betas=[0.9,0.99]"], "optimizer.betas", "optimizer=sgd", "job 2 of 2"),
        (["seed=1,2", "model=mlp,cnn", "model.filters=3"], "model.filters", "model=mlp", "job 1 of 4"),
    ],
)
def test_a_key_that_a_choice_of_a_sweep_lacks(varied, key, choice, number, tmp_path):
    done = train(tmp_path, "-m", "data=digits", *varied)
    assert done.process.exitcode == 1
    (line,) = done.text.splitlines()
    assert line.startswith(f"error: {key}: no such key with {choice} ({number}: ")
    assert not (tmp_path / "outputs").exists()


FILES = {
    "a tab": (b"_target_: x\n\tb: 1\n", "line 2, column 1: not valid YAML: found character '\\t'"),
    "a duplicate": (b"_target_: x\n_target_: y\n", "line 2, column 1: not valid YAML: found duplicate key _target_"),
    "an open list": (b"_target_: [1,\n", "not valid YAML: "),
    "a colon": (b"_target_: a: b\n", "line 1, column 12: not valid YAML: mapping values are not allowed here"),
    "not UTF-8": (b"_target_: \xff\n", "a file of the configuration is not UTF-8 text: "),
    "a list": (b"- a\n", "must be a mapping with the _target_ that it is built from"),
    "empty": (b"", "must be a mapping with the _target_ that it is built from"),
    "another kind": (b"_target_: builtins.dict\n", "must be one of its choices, or of type "),
}


@pytest.mark.parametrize("what", FILES)
@pytest.mark.parametrize("group", ["data", "model", "schedule", "trainer"])
def test_somebodys_file(what, group, tmp_path):
    content, message = FILES[what]
    (tmp_path / "conf" / group).mkdir(parents=True)
    (tmp_path / "conf" / group / "mine.yaml").write_bytes(content)
    done = train(tmp_path, "--config-dir", "conf", "data=digits", f"{group}=mine")
    assert done.process.exitcode == 1
    (line,) = done.text.splitlines()
    assert line.startswith("error: ")
    assert message in line


class TestTrainer:
    own = yaml.safe_load((ROOT / "conf/trainer/auto.yaml").read_text())
    lightnings: ClassVar = {name: p.default for name, p in inspect.signature(pl.Trainer).parameters.items()}
    ours = ("devices", "precision", "max_epochs", "num_sanity_val_steps", "log_every_n_steps",
            "enable_progress_bar", "enable_model_summary")  # fmt: skip

    def test_has_all_of_lightnings_keys_with_its_defaults(self):
        assert self.own.keys() - {"_target_"} == self.lightnings.keys()
        for key, default in self.lightnings.items():
            assert key in self.ours or self.own[key] == default, key

    def test_what_leaves_a_run_as_it_is_is_lightnings_default(self):
        for key, value in LIGHTNING_DEFAULTS.items():
            assert self.lightnings[key.removeprefix("trainer.")] == value, key

    @pytest.mark.parametrize(
        "override",
        ["limit_train_batches=0.1", "min_epochs=1", "overfit_batches=2", "inference_mode=false", "deterministic=true",
         "reload_dataloaders_every_n_epochs=1", "detect_anomaly=true", "profiler=simple", "max_time=00:01:00:00",
         "enable_checkpointing=false", "gradient_clip_val=1", "max_epochs=null trainer.max_steps=9",
         "val_check_interval=00:00:00:05", "limit_test_batches=0", "devices=auto", "num_sanity_val_steps=2"],
    )  # fmt: skip
    def test_each_of_its_switches_works(self, override, tmp_path):
        done = train(tmp_path, *ONE, *f"trainer.{override}".split())
        assert done.process.exitcode == 0, done.text

    @pytest.mark.parametrize("key", ["logger", "callbacks", "default_root_dir"])
    @pytest.mark.parametrize("plus", ["", "+"])
    def test_what_the_run_sets_itself_is_refused(self, key, plus, tmp_path):
        done = train(tmp_path, *ONE, f"{plus}trainer.{key}=x")
        assert done.text.startswith(f"error: trainer.{key}: cannot be set; use ")


@pytest.mark.parametrize("name", RANKS)
def test_the_first_process_of_a_job_locks_for_all(name, monkeypatch):
    for variable in RANKS:
        monkeypatch.delenv(variable, raising=False)
    assert rank() == 0
    monkeypatch.setenv(name, "3")
    assert rank() == 3


def test_two_processes_that_slurm_has_started_share_a_run(tmp_path):
    """Where ``LOCAL_RANK`` is not set."""
    slurm = {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_NAME": "train", "SLURM_JOB_ID": "7",
             "SLURM_NODELIST": "127.0.0.1", "SLURM_NNODES": "1", "SLURM_NODEID": "0",
             "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29781"}  # fmt: skip
    for _ in range(2):
        ranks = [
            programs.start(
                "train.py", *ONE, "trainer=ddp_cpu", "name=both", "-m", "seed=1", cwd=tmp_path,
                prepare=Variables(**slurm, SLURM_PROCID=str(number), SLURM_LOCALID=str(number), LOCAL_RANK=None),
            )
            for number in range(2)
        ]  # fmt: skip
        assert [program.wait() for program in ranks] == [0, 0], [program.text for program in ranks]
    (file,) = tmp_path.glob("outputs/sweeps/both/*/record.json")
    assert read(file).outcome.status == "completed"


def test_a_variable_that_is_a_number_is_one(tmp_path):
    numbers = Variables(LR="1e-2", SEED="3", UNITS="[8]")
    words = ["optimizer.lr=${oc.env:LR}", "seed=${oc.env:SEED}", "trainer.max_epochs=${oc.env:NONE,1}"]
    done = train(tmp_path, *SMALL, *words, prepare=numbers)
    assert done.process.exitcode == 0, done.text
    config = read(the_run(tmp_path) / "record.json").plan.config
    assert (config["optimizer"]["lr"], config["seed"], config["trainer"]["max_epochs"]) == (0.01, 3, 1)


@pytest.mark.parametrize("value", ["2026_11_25", "007", "12e5", "1_0", "42", "1.5"])
def test_a_variable_that_is_a_name_stays_one(value, tmp_path):
    done = train(tmp_path, "-m", *ONE, "seed=1", "name=${oc.env:NAME}", prepare=Variables(NAME=value))
    assert done.process.exitcode == 0, done.text
    assert (tmp_path / "outputs/sweeps" / value / "report.html").is_file()


@pytest.mark.parametrize("value", ["", "~/nothing", "/nowhere"])
def test_a_folder_of_data_that_is_not_there(value, tmp_path):
    done = train(
        tmp_path, "model=mlp", "trainer.max_epochs=1", "data.download=false", prepare=Variables(LRDECAY_DATA=value)
    )
    assert done.process.exitcode == 0, done.text
    assert read(the_run(tmp_path) / "record.json").plan.data == "digits"
    expected = {"": "data", "~/nothing": str(Path("~/nothing").expanduser()), "/nowhere": "/nowhere"}[value]
    assert f"no MNIST files in {expected}/MNIST/raw" in done.text


@pytest.mark.parametrize("home", [None, "/nonexistent/home", "/proc"])
def test_a_home_that_is_not_there_or_cannot_be_written(home, tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "HOME"} | ({"HOME": home} if home else {})
    done = subprocess.run(
        [sys.executable, ROOT / "train.py", *ONE], cwd=tmp_path, env=environment, capture_output=True, text=True,
        timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert read(the_run(tmp_path) / "record.json").outcome.status == "completed"


def test_a_link_to_the_program(tmp_path):
    (tmp_path / "train.py").symlink_to(ROOT / "train.py")
    done = subprocess.run([sys.executable, "train.py", "--cfg", "job"], cwd=tmp_path, capture_output=True, check=True)
    assert b"max_epochs: 20" in done.stdout


def test_names_of_folders_have_an_end():
    overrides = [f"model.{'k' * 30}{number}={'ü' * 90}" for number in range(20)]
    name = job_name(0, overrides, [], {"schedule": "constant"})
    assert name.startswith("01_k")
    assert MOST_BYTES - 3 < len(name.encode()) <= MOST_BYTES


def test_tensorboard_shows_the_hyperparameters_of_runs_that_mix_types(tmp_path):
    """Its own server, asked for what its page asks: numbers, texts and lists in one column, and keys that are null."""
    mixed = ["model=mlp,cnn", "schedule.warmup=0,2ep,5%", "data.train_size=null,600", "data.val_size=100"]
    done = train(
        tmp_path, "-m", "data=digits", *mixed, "trainer.max_epochs=3", "trainer.limit_train_batches=2", "name=s"
    )
    assert done.process.exitcode == 0, done.text
    with board(tmp_path / "outputs", tmp_path / "board.log") as address:
        experiment = ask(address, "experiment", {})
        columns = {info["name"]: info["type"] for info in experiment["hparamInfos"]}
        order = [{"hparam": name, "order": "ORDER_ASC"} for name in columns]
        statuses = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
        for column in order:
            request = {"startIndex": 0, "sliceSize": 100, "allowedStatuses": statuses, "colParams": [column]}
            groups = ask(address, "session_groups", request)["sessionGroups"]
            assert len(groups) == 12, column
    assert columns["schedule.warmup"] == columns["model.hidden"] == columns["data.val_size"] == "DATA_TYPE_STRING"
    assert columns["optimizer.lr"] == columns["seed"] == "DATA_TYPE_FLOAT64"


@contextmanager
def board(folder: Path, log: Path) -> Iterator[str]:
    """TensorBoard's own server over a folder, at a port that the system chooses; gives its address."""
    command = [Path(sys.executable).with_name("tensorboard"), "--logdir", folder, "--port", "0"]
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file) as server:
        try:
            deadline = time.monotonic() + 240  # on a busy machine it imports for a minute
            while not (found := re.search(r"http://\S+:\d+", log.read_text(errors="replace"))):
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            yield found[0]
        finally:
            server.kill()


def ask(address: str, what: str, request: dict) -> dict:
    """TensorBoard's answer, once it has read its folder."""
    body = json.dumps({"experimentName": ""} | request).encode()
    url = f"{address}/data/plugin/hparams/{what}"
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        with urllib.request.urlopen(
            urllib.request.Request(url, body, {"Content-Type": "application/json"}), timeout=240
        ) as answer:
            found = json.load(answer)
        if found.get("hparamInfos") or found.get("sessionGroups"):
            return found
        time.sleep(0.5)
    raise TimeoutError(url)
