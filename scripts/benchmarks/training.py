"""The article's training, whole epochs with validation, beside others that do the same work."""

import shutil
import statistics
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks.bench import Bench, newest, ratio, table, take_turns
from lrdecay.records.record import read

OURS, BF16 = "lrdecay", "lrdecay, bf16-mixed"


def training(bench: Bench) -> None:
    """The article's training, whole epochs with validation."""
    contestants: dict[str, Callable[[int], dict[str, Any]]] = {
        OURS: lambda seed: our_training(bench, seed),
        BF16: lambda seed: our_training(bench, seed, "trainer.precision=bf16-mixed"),
        f"{OURS}, process.tune=false": lambda seed: our_training(bench, seed, "process.tune=false"),
        "Lightning, DataLoader": lambda seed: bench.peer("lightning_dataloader", seed),
        "plain PyTorch": lambda seed: bench.peer("plain_torch", seed),
    }
    if versions := tensorflow_versions(bench.keras_python):
        contestants["Keras on TensorFlow"] = lambda seed: bench.peer("keras_tensorflow", seed)
        bench.results["machine"] |= versions
    else:
        print("Keras on TensorFlow left out: not installed; --keras-python names an interpreter that has them")
    if find_spec("jax") and find_spec("optax"):
        contestants["JAX, a scan an epoch"] = lambda seed: bench.peer("jax_scan", seed)
    else:
        print("JAX left out: not installed; the oracles extra has it")
    rounds = take_turns(contestants, bench.rounds)
    seconds = {name: [statistics.median(one["seconds"][1:]) for one in several] for name, several in rounds.items()}
    accuracy = {name: statistics.mean(one["val_acc"][1] for one in several) for name, several in rounds.items()}
    gpu = {name: [one.get("utilisation") for one in several] for name, several in rounds.items()}
    bench.results["training"] = {
        name: {
            "seconds": seconds[name],
            "ratio": ratio(seconds[OURS], seconds[name]),
            "ratio_bf16": ratio(seconds[BF16], seconds[name]),
            "val_acc_epoch_2": accuracy[name],
            "gpu_utilisation": gpu[name],
        }
        for name in rounds
    }
    images = len(np.load(bench.folder / "data.npz")["y_train"])
    rows = []
    for name, found in bench.results["training"].items():
        median, least, most = statistics.median(found["seconds"]), min(found["seconds"]), max(found["seconds"])
        ratios = [f"{found[key]:.2f}" for key in ("ratio", "ratio_bf16")]
        accuracies = f"{100 * found['val_acc_epoch_2']:.2f}%"
        rows.append([name, f"{median:.2f}", f"{least:.2f}–{most:.2f}", f"{images / median:,.0f}", *ratios, accuracies])
    title = f"Training on {bench.data}, batch 64, with validation: an epoch, median of {bench.rounds} rounds"
    table(title, ["", "seconds", "range", "images/s", f"{OURS} : it", "bf16 : it", "val/acc, 2nd"], rows)


def tensorflow_versions(python: str) -> dict[str, str]:
    """Versions of Keras and TensorFlow in an interpreter; none if it has not both."""
    code = "import keras, tensorflow; print(keras.__version__, tensorflow.__version__)"
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {}
    return dict(zip(("keras", "tensorflow"), done.stdout.split()[-2:], strict=True))


def our_training(bench: Bench, seed: int, *arguments: str) -> dict[str, Any]:
    """Epochs of ``train.py`` with its default logging, checkpoints and validation."""
    with gpu_utilisation() as utilisation:
        bench.train(f"data={bench.data}", f"trainer.max_epochs={bench.epochs}", f"seed={seed}", *arguments)
    record = read(newest(bench.folder / "runs") / "record.json")
    return {
        "seconds": record.progress.epoch_seconds,
        "val_acc": [row["val/acc"] for row in record.progress.epochs],
        "utilisation": statistics.median(utilisation) if utilisation else None,
    }


@contextmanager
def gpu_utilisation() -> Iterator[list[float]]:
    """Percent of the time that the first GPU computed, asked for several times a second between its first work and its
    last; empty where there is none.
    """
    values: list[float] = []
    if shutil.which("nvidia-smi") is None:
        yield values
        return
    command = ["nvidia-smi", "--id=0", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "200"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as monitor:
        lines: Iterable[str] = monitor.stdout or ()
        asked: list[float] = []
        reader = threading.Thread(target=lambda: asked.extend(float(line) for line in lines if line[0].isdigit()))
        reader.start()
        try:
            yield values
        finally:
            monitor.terminate()
            reader.join()
            worked = np.flatnonzero(asked)
            values += asked[worked[0] : worked[-1] + 1] if worked.size else []
