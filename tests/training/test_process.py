import subprocess
import sys

import pytest
from support.programs import ROOT

pytestmark = pytest.mark.slow


def in_a_fresh_process(code: str) -> str:
    command = [sys.executable, "-c", f"import torch\nfrom lrdecay.training.process import prepare_process\n{code}"]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()


@pytest.mark.parametrize(("tune", "flushed"), [(True, "tensor(0)"), (False, "tensor(1000000)")])
def test_denormals_are_flushed_in_every_thread_if_it_is_tuned(tune, flushed):
    """A number that halves to a denormal one, in a tensor large enough that all threads compute."""
    code = f"prepare_process({tune}, 2); print((torch.full((1_000_000,), 2e-38) / 4).count_nonzero())"
    assert in_a_fresh_process(code) == flushed


def test_says_what_it_did():
    done = in_a_fresh_process("print('; '.join(prepare_process(True, None)))").split("; ")
    assert "denormal numbers flushed to 0" in done
    if sys.platform == "linux":
        assert "freed memory kept" in done
    assert in_a_fresh_process("print(prepare_process(False, None))") == "[]"


def test_sets_the_threads():
    assert in_a_fresh_process("prepare_process(True, 3); print(torch.get_num_threads())") == "3"


def test_a_process_that_was_tuned_stays_so():
    """Nothing can undo it, so a run that is not to be tuned is refused there."""
    code = "prepare_process(True, None)\ntry: prepare_process(False, None)\nexcept ValueError as error: print(error)"
    assert in_a_fresh_process(code).startswith(
        "process.tune=False: must be true in a process that was tuned for an earlier"
    )


def test_a_process_cannot_be_both(train, tmp_path):
    done = train("-m", "process.tune=true,false", "trainer.max_steps=1")
    assert done.returncode == 1
    assert done.stderr == (
        "error: process.tune=False and process.tune=True: must be the same for all runs of one process; "
        "hydra/launcher=parallel gives each a process\n"
    )
    assert not list(tmp_path.rglob("record.json"))
