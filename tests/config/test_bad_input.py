"""Hundreds of bad command lines and damaged files: each is refused in one line, at once, and nothing comes of it."""

import copy
import functools
import os
import random
import shutil
from pathlib import Path

import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from support import programs
from support.programs import ROOT
from support.records import edit
from support.runs import SMALL, the_run

from lrdecay.config.build import build, instantiate
from lrdecay.config.compose import compose_all
from lrdecay.data.catalogue import SIZES
from lrdecay.errors import BadValue, ConfigError
from lrdecay.records.identity import flatten

pytestmark = pytest.mark.slow

CONF = ROOT / "conf"

# Keys whose value may be any word, or nothing but a folder.
ANY_WORD = {"name", "output_dir", "data.root", "resume", "trainer.model_registry"}
NO_VALUE = ["abc", "[1,2]", "{a:1}", "nan", "''"]


BASE = ["data=digits", "schedule=polynomial", "scale=plateau"]


def bad_values() -> dict[str, list[str]]:
    """Values of the wrong kind for every key of the configuration."""
    values = flatten(OmegaConf.to_container(base(), resolve=False))
    cases = {}
    for key, value in values.items():
        if key in ANY_WORD or key.startswith("logger.") or key.endswith(("_target_", "download")):
            continue
        allowed = ("abc", "''", "nan") if isinstance(value, str) else ("''",) if value is None else ()
        cases[key] = [bad for bad in NO_VALUE if bad not in allowed]
        if isinstance(value, str):
            cases[key].append("nonsense")
    return cases


@functools.cache
def base() -> DictConfig:
    ((_, config),) = compose_all(CONF, BASE)
    return config


def is_refused_when_built(key: str, value: str) -> bool:
    """Whether the configuration, or a part that it names, refuses the value in one line, as it would a command."""
    config = copy.deepcopy(base())
    try:
        OmegaConf.update(
            config, key, OverridesParser.create().parse_override(f"{key}={value}").value()
        )  # as Hydra does
        parts = build(config)
        _ = parts.schedule, parts.scale, parts.data, parts.callbacks
        parts.make_optimizer(torch.nn.Linear(1, 1))
        parts.trainer(logger=False)
        unknown = {size: known for size, known in SIZES.items() if config.model[size] is None}
        instantiate(config.model, "model", **unknown)
    except (BadValue, ConfigError, OmegaConfBaseException):
        return True
    return False


COMMAND_LINES = [
    ["="], ["=1"], ["schedule"], ["schedule=="], ["+"], ["~"], ["~seed=5"], ["~nothing"], ["+seed=1"], ["seed=1,2"],
    ["schedule=step,cosine"], ["optimizer.lr="], ["optimizer.lr=${nothing}"], ["optimizer.lr=${oc.env:NOTHING_AT_ALL}"],
    ["optimizer.lr=${optimizer.lr}"], ["optimizer.lr=1e-3]"], ["optimizer.lr={"], ["'"], ["\\"], ["ü=1"], ["a.b.c=1"],
    ["seed=99999999999999999999"], ["seed=-1"], ["seed=1.5"], ["name=../x"], ["name=a/b"], ["name=.x", "-m"],
    ["-m", "seed=range(0)"], ["-m", "seed=choice()"], ["-m", "schedule=glob(nothing*)"], ["--nonsense"],
    ["--config-name=nothing"], ["--config-dir=nothing"], ["--cfg=nothing"], ["hydra=nothing"],
    ["hydra/launcher=nothing", "-m"], ["hydra/launcher=parallel", "-m", "hydra.launcher.processes=0"],
    ["trainer.max_epochs=0"], ["trainer.max_epochs=-1"], ["trainer.max_epochs=-2"], ["trainer.max_epochs=1e400"],
    ["trainer.devices=0"], ["trainer.devices=-5"], ["trainer.accelerator=cuda"], ["trainer.precision=7"],
    ["data.batch_size=0"], ["data.batch_size=100000"], ["data.val_size=0%"], ["data.val_size=100%"], ["data.shift=29"],
    ["model.hidden=[0]"], ["model.dropout=1"], ["model.classes=3"], ["schedule.warmup=200%"], ["schedule.warmup=0.1"],
    ["schedule.warmup=" + "9" * 5000], ["schedule.warmup=" + "x" * 100_000], ["optimizer.lr=-1"], ["optimizer.lr=0"],
    ["optimizer.betas=[2,2]"], ["optimizer.betas=3"], ["optimizer.eps=-1"], ["metric=test/acc"], ["process.threads=0"],
    ["resume=/dev/null"], ["resume=."], ["resume_mode=weights"], ["resume=/proc/self"], ["output_dir=/dev/null/x"],
    ["+trainer.callbacks=3"], ["+trainer.nonsense=1"], ["+schedule.nonsense=1"], ["+model.nonsense=1"],
    ["+optimizer.nonsense=1"], ["+callbacks.x._target_=nothing.at.All"], ["+callbacks.x._target_=builtins.dict"],
    ["model._target_=nothing.At.all"], ["optimizer._target_=builtins.dict"], ["schedule._target_=builtins.dict"],
]  # fmt: skip

OTHER_PROGRAMS = [
    ["scripts/compare.py"], ["scripts/compare.py", "nowhere"], ["scripts/compare.py", "/dev/null"],
    ["scripts/compare.py", "."], ["scripts/compare.py", ".", "--output"], ["scripts/compare.py", "--nonsense"],
    ["scripts/evaluate.py"], ["scripts/evaluate.py", "nowhere"], ["scripts/evaluate.py", "/dev/null"],
    ["scripts/evaluate.py", ".", "--checkpoint", "worst"], ["scripts/evaluate.py", "--nonsense"],
    ["scripts/preview.py", "schedule=nonsense"], ["scripts/preview.py", "schedule"], ["scripts/preview.py", "--output"],
    ["scripts/preview.py", "--output", "a.jpg"], ["scripts/preview.py", "schedule=step", "schedule.gamma=x"],
    ["scripts/preview.py", "--steps-per-epoch", "0"], ["scripts/preview.py", "--steps-per-epoch", "x"],
    ["scripts/preview.py", "trainer.max_epochs=0"], ["scripts/preview.py", "schedule.warmup=0.5"],
    ["scripts/find_lr.py", "--steps", "0"], ["scripts/find_lr.py", "--steps", "x"], ["scripts/find_lr.py", "--output"],
    ["scripts/find_lr.py", "data=digits", "--from", "-1"], ["scripts/find_lr.py", "data=digits", "--from", "nan"],
    ["scripts/find_lr.py", "data=digits", "--from", "1", "--to", "0.1"], ["scripts/find_lr.py", "model=nonsense"],
    ["scripts/find_lr.py", "seed=1,2"],
]  # fmt: skip


def assert_refused(program: programs.Program) -> None:
    status = program.wait(60)
    assert status not in (0, 137, 139), program.text
    assert "Traceback" not in program.text, program.text
    errors = [line for line in program.text.splitlines() if "error: " in line]
    assert len(errors) == 1, program.text
    assert len(errors[0]) < 2000


def assert_case_is_refused(script: str, *arguments: str, cwd: Path) -> None:
    try:
        assert_refused(programs.run(script, *arguments, cwd=cwd))
    except AssertionError as error:
        pytest.fail(f"{script} {arguments}: {error}")


@pytest.mark.parametrize("batch", range(4))
def test_bad_values(batch, tmp_path):
    """One value of each key, and all that are not refused before anything is trained, by the command itself."""
    for number, (key, values) in list(enumerate(bad_values().items()))[batch::4]:
        for value in values:
            if value == values[number % len(values)] or not is_refused_when_built(key, value):
                assert_case_is_refused("train.py", *BASE, f"{key}={value}", cwd=tmp_path)
    assert not list(tmp_path.rglob("*.ckpt"))


GROUPS = ["schedule", "optimizer", "model", "data", "trainer", "logger", "callbacks", "scale", "experiment", "debug"]


@pytest.mark.parametrize("batch", range(2))
def test_bad_choices(batch, tmp_path):
    cases = [f"{group}=nonsense" for group in GROUPS] + [f"{group}=null" for group in GROUPS[:5]]
    for case in cases[batch::2]:
        assert_case_is_refused("train.py", *BASE, case, cwd=tmp_path)


@pytest.mark.parametrize("batch", range(4))
def test_bad_command_lines(batch, tmp_path):
    for case in [["train.py", *line] for line in COMMAND_LINES][batch::4] + OTHER_PROGRAMS[batch::4]:
        data = ["model=mlp"] if case[0] == "train.py" and "--" not in case[-1] else []
        assert_case_is_refused(case[0], *data, *case[1:], cwd=tmp_path)
    assert not list(tmp_path.rglob("*.ckpt"))


def truncated(part: float):
    return lambda content: content[: int(part * len(content))]


def flipped(seed: int):
    def damage(content: bytes) -> bytes:
        generator = random.Random(seed)
        damaged = bytearray(content)
        for _ in range(20):  # one alone may be in the padding of a checkpoint, where it does no harm
            damaged[generator.randrange(len(damaged))] ^= 1 << generator.randrange(8)
        return bytes(damaged)

    return damage


CONTENTS = {
    **{f"truncated to {part}": truncated(part) for part in (0.001, 0.1, 0.5, 0.9, 0.999)},
    **{f"bits flipped {seed}": flipped(seed) for seed in range(8)},
    "empty": lambda content: b"",
    "binary": lambda content: bytes(range(256)),
    "zeros": lambda content: bytes(len(content)),
    "another kind": lambda content: b"[1, 2, 3]",
    "a number": lambda content: b"3",
    "not UTF-8": lambda content: content.replace(b"a", b"\xff", 5),
    "nested": lambda content: b"[" * 200_000,
    "twice": lambda content: content * 2,
}


def a_loop(path: Path) -> None:
    path.symlink_to(path.name)


DAMAGES = {
    "a symbolic link to itself": a_loop,
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "a broken link": lambda path: path.symlink_to("nowhere"),
    "huge": lambda path: os.truncate(os.open(path, os.O_RDWR | os.O_CREAT), 2**33),
}

# What reads which file of a run.
READERS = {
    "record.json": ["compare", "evaluate", "resume"],
    "checkpoints/last.ckpt": ["evaluate", "resume", "weights"],
}


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """A run with all that these programs need: whole, each of them succeeds."""
    folder = tmp_path_factory.mktemp("interrupted")
    assert programs.run("train.py", *SMALL, cwd=folder).process.exitcode == 0
    run = the_run(folder)
    assert programs.run("scripts/evaluate.py", run, cwd=folder).process.exitcode == 0
    edit(run / "record.json", status="interrupted")
    return run


def command(reader: str, run: Path) -> list:
    return {
        "compare": ["scripts/compare.py", run],
        "evaluate": ["scripts/evaluate.py", run],
        "resume": ["train.py", f"resume={run}"],
        "weights": ["train.py", f"resume={run}", "resume_mode=weights"],
    }[reader]


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("damage", [*CONTENTS, *DAMAGES])
def test_damaged_files(name, damage, interrupted, tmp_path):
    run = Path(shutil.copytree(interrupted, tmp_path / "run"))
    whole = (run / name).read_bytes()
    (run / name).unlink()
    if damage in CONTENTS:
        (run / name).write_bytes(CONTENTS[damage](whole))
    else:
        DAMAGES[damage](run / name)
    for reader in READERS[name]:
        script, *arguments = command(reader, run)
        assert_refused(programs.run(script, *arguments, cwd=tmp_path))


@pytest.mark.parametrize("damage", ["truncated to 0.1", "empty", "not UTF-8"])
def test_a_log_that_has_lost_rows(damage, interrupted, tmp_path):
    run = Path(shutil.copytree(interrupted, tmp_path / "run"))
    (run / "metrics.csv").write_bytes(CONTENTS[damage]((run / "metrics.csv").read_bytes()))
    assert_refused(programs.run("train.py", f"resume={run}", cwd=tmp_path))


def test_values_of_other_types(interrupted, tmp_path):
    """Records that say of themselves that they are whole, but are not."""
    values = {"config": [], "epochs": {}, "rates": [[1]], "final": {"val/acc": "x"}, "status": 3, "seconds": None}
    for key, value in values.items():
        run = Path(shutil.copytree(interrupted, tmp_path / key))
        edit(run / "record.json", **{key: value})
        for reader in READERS["record.json"]:
            script, *arguments = command(reader, run)
            assert_refused(programs.run(script, *arguments, cwd=tmp_path))
