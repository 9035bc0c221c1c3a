"""The resident set does not grow with epochs, nor with the jobs of a sweep."""

import statistics
import sys
from itertools import pairwise

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]

RESIDENT = """
from pathlib import Path
from pytorch_lightning import Callback

class Resident(Callback):
    def on_train_epoch_end(self, trainer, module):
        kilobytes = Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]
        with open("resident.txt", "a") as file:
            print(int(kilobytes) / 1024, file=file)
"""


def resident(train, folder, *arguments, **environment) -> list[float]:
    """MB at the end of each epoch, over all jobs."""
    (folder / "resident.py").write_text(RESIDENT)
    done = train(*arguments, "+callbacks.resident._target_=resident.Resident", PYTHONPATH=str(folder), **environment)
    assert done.returncode == 0, done.stderr
    return [float(line) for line in (folder / "resident.txt").read_text().splitlines()]


def growth(sizes: list[float]) -> float:
    """MB that most measurements are above those before; now and then a heap in pieces needs a new block of 11 MB."""
    return statistics.median(after - before for before, after in pairwise(sizes))


def test_over_epochs(train, tmp_path):
    sizes = resident(train, tmp_path, "trainer.max_epochs=60")
    assert len(sizes) == 60
    assert growth(sizes[20:]) < 0.1, sizes


def test_over_the_jobs_of_a_sweep(train, tmp_path):
    sizes = resident(train, tmp_path, "-m", "trainer.max_epochs=1", "seed=" + ",".join(map(str, range(16))))
    assert len(sizes) == 16
    assert growth(sizes[7:]) < 2, sizes  # one copy of the weights and Adam's averages would be 8 MB a job


def test_mnist_is_loaded_once_a_process(train, tmp_path, mnist_root):
    tiny = ["data=mnist", "model=mlp", "model.hidden=[4]", "trainer.max_epochs=1", "+trainer.limit_train_batches=2"]
    sizes = resident(train, tmp_path, "-m", *tiny, "seed=1,2,3,4", LRDECAY_DATA=str(mnist_root))
    assert sizes[-1] - sizes[0] < 40, sizes  # the images are 55 MB
    assert max(sizes) < 1500
