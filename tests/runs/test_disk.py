"""A disk that is full, or must not be written: one clear line, and what was good before stays good."""

import subprocess
from pathlib import Path

import pytest
from support import programs
from support.runs import SMALL, StoppedAt, assert_same, begin, go_on, the_run

from lrdecay.records.record import read
from lrdecay.training.checkpoints import read_checkpoint


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MiB, in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be made here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


class FilledAt(StoppedAt):
    """Fills the disk when a step begins."""

    def __call__(self) -> None:
        from lrdecay.training.module import Classifier

        original = Classifier.training_step

        def step(module, *arguments):
            if module.trainer.global_step == self.step:
                fill(Path("filler"))
            return original(module, *arguments)

        Classifier.training_step = step


def fill(file: Path) -> None:
    with file.open("ab", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4096))
        except OSError:
            pass


def assert_one_line(program: programs.Program, what: str) -> None:
    assert program.process.exitcode == 1, program.text
    assert "Traceback" not in program.text, program.text
    errors = [line for line in program.text.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, program.text
    assert what in errors[0]


@pytest.mark.parametrize("step", [3, 25])
def test_a_full_disk(step, small_disk, tmp_path):
    """Before the first checkpoint, and after it; with room again, the run goes on to the same end."""
    reference = tmp_path / "whole"
    assert begin(reference).wait() == 0
    full = begin(small_disk, prepare=FilledAt(step))
    full.wait()
    assert_one_line(full, "No space left on device")
    run = the_run(small_disk)
    assert read(run / "record.json").outcome.status in ("running", "failed")
    if step > 18:
        assert read_checkpoint(run / "checkpoints/last.ckpt")["global_step"] == 18
    (small_disk / "filler").unlink()
    assert go_on(small_disk).process.exitcode == 0
    assert_same(run, the_run(reference))


def test_a_checkpoint_that_does_not_fit(small_disk):
    large = begin(small_disk, "model.hidden=[300]")
    large.wait()
    assert_one_line(large, "best.ckpt: No space left on device")
    run = the_run(small_disk)
    assert (read(run / "record.json").outcome.status, list((run / "checkpoints").iterdir())) == ("failed", [])


def test_a_disk_that_was_full_from_the_start(small_disk):
    (small_disk / "outputs").mkdir()
    fill(small_disk / "outputs/filler")
    done = programs.run("train.py", *SMALL, f"output_dir={small_disk}/outputs", cwd=small_disk.parent)
    assert_one_line(done, "No space left on device")


def test_a_read_only_folder(small_disk, tmp_path):
    assert begin(small_disk, prepare=StoppedAt(25)).wait() == 143
    run = the_run(small_disk)
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    commands = {
        "resume": ["train.py", f"resume={run}"],
        "train": ["train.py", *SMALL, f"output_dir={small_disk}/outputs"],
        "sweep": ["train.py", "-m", *SMALL, f"output_dir={small_disk}/outputs", "name=x"],
        "compare": ["scripts/compare.py", small_disk],
        "preview": ["scripts/preview.py", f"--output={small_disk}/a.png"],
    }
    for script, *arguments in commands.values():
        assert_one_line(programs.run(script, *arguments, cwd=tmp_path), "Read-only file system")
    assert programs.run("scripts/evaluate.py", run, cwd=tmp_path).process.exitcode == 1
    assert before == {file: file.read_bytes() for file in before}
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    assert go_on(small_disk).process.exitcode == 0
