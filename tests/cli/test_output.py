"""What cannot be printed costs letters, not runs: real processes whose output somebody has made difficult."""

import fcntl
import io
import os
import pty
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from support import programs
from support.programs import ROOT
from support.records import a_run, write_runs
from support.runs import SMALL, StoppedAt, the_run

from lrdecay.config.overrides import shell_word
from lrdecay.records.record import read

SWEEP = ["-m", *SMALL, "schedule=constant,step", "seed=1,2", "trainer.max_epochs=1", "name=sweep"]


class Encoded:
    """An encoding that lacks letters, as ``PYTHONIOENCODING`` or a locale sets it."""

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding

    def __call__(self) -> None:
        for name, descriptor in (("stdout", 1), ("stderr", 2)):
            raw = open(descriptor, "wb", closefd=False)  # noqa: SIM115
            setattr(sys, name, io.TextIOWrapper(raw, encoding=self.encoding, errors="strict"))


class ReadNoMore:
    """A pipe whose reader has gone, for stdout and stderr."""

    def __call__(self) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        for descriptor in (1, 2):
            os.dup2(writer, descriptor)


class Full:
    """A disk without room."""

    def __call__(self) -> None:
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


class Closed:
    """No stdout, and no stderr."""

    def __call__(self) -> None:
        os.close(1)
        os.close(2)
        sys.stdout = sys.stderr = None


class Impatient:
    """A pipe that is full, does not block, and is read slowly: by another process, which keeps the text."""

    def __call__(self) -> None:
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.close(writer)
            with Path("read").open("wb") as file:
                while part := os.read(reader, 1000):
                    time.sleep(0.01)
                    file.write(part)
            os._exit(0)
        os.set_blocking(writer, False)
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        os.dup2(writer, 1)
        while True:  # until it is full
            try:
                os.write(1, b"x")
            except BlockingIOError:
                break


DIFFICULTIES = {
    **{name: Encoded(name) for name in ("ascii", "cp1252", "latin-1", "cp437", "shift_jis")},
    "a closed pipe": ReadNoMore(),
    "a full disk": Full(),
    "closed": Closed(),
    "a pipe that does not block": Impatient(),
}


def commands(folder: Path) -> dict[str, list]:
    runs = write_runs(folder / "runs", [a_run(schedule, seed, gamma=0.5) for schedule in ("constant", "step")
                                        for seed in (1, 2)])  # fmt: skip
    return {
        "run": ["train.py", *SMALL, "schedule=cosine", "hydra.run.dir=run"],
        "sweep": ["train.py", *SWEEP],
        "preview": ["scripts/preview.py", "data=digits", "schedule=step,cosine"],
        "compare": ["scripts/compare.py", runs],
        "find_lr": ["scripts/find_lr.py", "data=digits", "model=mlp", "--steps", "60"],
    }


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
@pytest.mark.parametrize("command", ["run", "sweep", "preview", "compare", "find_lr"])
def test_output_never_changes_what_is_done(command, difficulty, tmp_path):
    done = programs.run(*commands(tmp_path)[command], cwd=tmp_path, prepare=DIFFICULTIES[difficulty])
    assert done.process.exitcode == 0, done.text
    assert "Traceback" not in done.text
    expected = {
        "run": ["run/record.json", "run/lr.png"],
        "sweep": [f"outputs/sweeps/sweep/{name}" for name in ("comparison.csv", "comparison.png", "report.html")],
        "preview": ["outputs/preview.png"],
        "compare": ["runs/comparison.csv", "runs/report.html"],
        "find_lr": ["outputs/find_lr.png"],
    }
    assert all((tmp_path / file).is_file() for file in expected[command])
    for file in tmp_path.rglob("record.json"):
        assert read(file).outcome.status == "completed"


def test_letters_that_an_encoding_lacks_are_replaced(tmp_path):
    done = programs.run("train.py", *SMALL, "hydra.run.dir='gamma_γ_日'", cwd=tmp_path, prepare=Encoded("ascii"))
    assert done.process.exitcode == 0
    assert " | val/acc " in done.text
    assert done.text.rstrip().endswith("-> gamma_gamma_?")


def test_all_of_it_comes_through_a_slow_pipe(tmp_path):
    done = programs.run("train.py", *SMALL, cwd=tmp_path, prepare=Impatient())
    assert done.process.exitcode == 0
    deadline = time.monotonic() + 60
    while "val/loss" not in (tmp_path / "read").read_text() and time.monotonic() < deadline:
        time.sleep(0.1)
    text = (tmp_path / "read").read_text()
    assert text.startswith("x" * 1000)
    assert "constant · adam lr 0.001" in text
    assert " · val/loss " in text


def test_that_output_is_lost_is_said(tmp_path):
    done = programs.run("train.py", *SMALL, cwd=tmp_path, prepare=Full())
    assert done.text == "warning: the output is incomplete: No space left on device\n"


SHELL = {
    "PYTHONIOENCODING=ascii": (["run"], {"PYTHONIOENCODING": "ascii"}, "{}"),
    "LC_ALL=C": (["run"], {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "{}"),
    "head -1": (["sweep"], {}, "{} | head -1"),
    ">&-": (["run"], {}, "{} >&- 2>&-"),
    "unbuffered": (["run"], {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "ascii"}, "{} | head -1"),
}


@pytest.mark.parametrize("case", SHELL)
def test_in_a_shell(case, tmp_path):
    (command,), environment, line = SHELL[case]
    script, *words = commands(tmp_path)[command]
    program = shlex.join([sys.executable, str(ROOT / script), *map(str, words)])
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line.format(program)],
        cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "1"} | environment, capture_output=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {read(file).outcome.status for file in tmp_path.glob("outputs/**/record.json")} <= {"completed"}
    assert command == "run" or (tmp_path / "outputs/sweeps/sweep/report.html").is_file()


class OnATerminal:
    """A narrow terminal of that kind; what it shows goes on to the file of the output."""

    def __init__(self, **environment: str) -> None:
        self.environment = environment

    def __call__(self) -> None:
        os.environ |= {"COLUMNS": "40"} | self.environment
        shown = os.dup(1)
        child, terminal = pty.fork()
        if child == 0:
            sys.stdout = os.fdopen(1, "w", closefd=False)
            return
        while True:
            try:
                part = os.read(terminal, 1000)
            except OSError:
                break
            os.write(shown, part)
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status))


@pytest.mark.parametrize("environment", [{"TERM": "xterm"}, {"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": "1"}])
def test_on_a_terminal_of_forty_columns(environment, tmp_path):
    done = programs.run("train.py", *SWEEP, cwd=tmp_path, prepare=OnATerminal(**environment))
    assert done.process.exitcode == 0, done.text
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", done.text)
    assert "[4/4] step seed=2: test/acc" in plain
    assert "constant" in plain
    coloured = re.search(r"\x1b\[[0-9;]*\b3\d[0-9;]*m", done.text) is not None
    assert coloured <= ("NO_COLOR" not in environment)


PLACES = ["plain", "with spaces", "a,b", "x=1", "[list]", "{map}", "it's", 'say "so"', "$HOME", "back\\slash", "ü→日",
          "a;b", "(c)", "~", "true", "null", "1e3", "#no comment", "100%", "${seed}", "tr ailing\\"]  # fmt: skip


@pytest.mark.parametrize("name", PLACES)
def test_what_resumes_a_run_can_be_pasted(name):
    """Through a real shell, and then through Hydra."""
    for key in ("resume", "name"):
        word = subprocess.run(
            ["bash", "-c", f"printf %s {shell_word(key, name)}"], capture_output=True, text=True, check=True
        ).stdout
        override = OverridesParser.create().parse_override(word)
        value = override.value()
        text = value if isinstance(value, str) else value.text
        assert (override.key_or_group, text.replace(r"\${", "${")) == (key, name)


@pytest.mark.parametrize("name", ["a b", "it's [1], {2}", "γ→日"])
def test_and_resumes_it(name, tmp_path):
    where = shell_word("hydra.run.dir", name)
    (word,) = shlex.split(where)
    stopped = programs.run("train.py", *SMALL, word, cwd=tmp_path, prepare=StoppedAt(7))
    assert stopped.process.exitcode == 143, stopped.text
    printed = stopped.text.splitlines()[-1].split("; ")[-1].removesuffix(" resumes it")
    (word,) = shlex.split(printed)
    done = programs.run("train.py", word, cwd=tmp_path)
    assert done.process.exitcode == 0, done.text
    assert "resumes after step 8 of 54" in done.text


def test_the_end_of_a_terminal_is_an_interruption(tmp_path):
    import signal

    done = programs.run("train.py", *SMALL, cwd=tmp_path, prepare=StoppedAt(7, number=signal.SIGHUP))
    assert done.process.exitcode == 129
    assert read(the_run(tmp_path) / "record.json").outcome.status == "interrupted"
    assert programs.run("train.py", f"resume={the_run(tmp_path)}", cwd=tmp_path).process.exitcode == 0
