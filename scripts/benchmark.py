"""Measures how fast the project is, beside others that do the same work.

python scripts/benchmark.py                          everything but the article's experiment, about half an hour
python scripts/benchmark.py training step            some parts
python scripts/benchmark.py training --keras-python ../tf/bin/python
python scripts/benchmark.py article                  its accuracies, with nothing bought: 20 runs

Contestants take turns, several rounds of them, since machines share their processors with others. What is printed is
the median, and the median of the ratios within a round. They have the same images, network, optimizer, batch of 64
for training and 256 for validation, and the round's number as seed; ours also logs, checkpoints and records.
"""

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from lrdecay.adapter import Rates
from lrdecay.console import format_seconds
from lrdecay.data import Digits, read_mnist
from lrdecay.durations import Horizon
from lrdecay.errors import ConfigError
from lrdecay.figures import bar_chart
from lrdecay.files import write_atomically
from lrdecay.placement import Schedule
from lrdecay.record import digest, read

ROOT = Path(__file__).parent.parent
PEERS = ROOT / "scripts/peers"
OURS, BF16 = "lrdecay", "lrdecay, bf16-mixed"


@dataclass
class Bench:
    """What all parts of the benchmark use, and what they found.

    Attributes:
        rounds: how often contestants take turns.
        epochs: of each training; the first of them does not count.
        folder: for runs, removed at the end.
        data: ``mnist`` or ``digits``.
        keras_python: an interpreter that has Keras and TensorFlow.
        results: by part, plain values.
    """

    rounds: int
    epochs: int
    folder: Path
    data: str
    keras_python: str
    results: dict[str, Any] = field(default_factory=dict)

    def train(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs ``train.py``, as a user would."""
        return run([sys.executable, "train.py", *arguments, f"output_dir={self.folder}"], **environment)

    def peer(self, name: str, seed: int) -> dict[str, Any]:
        """Runs one of the others, and gives what it prints at last."""
        python = self.keras_python if name.startswith("keras") else sys.executable
        arguments = [self.folder / "data.npz", self.epochs, seed, self.folder]
        done = run([python, str(PEERS / f"{name}.py"), *map(str, arguments)])
        return json.loads(done.stdout.splitlines()[-1])


def run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command from the root of the project; what it printed ends this program if it fails."""
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"error: {' '.join(command)} ended with status {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done


def timed(function: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Prints a table whose first column is names and the others numbers."""
    print(f"\n{title}")
    grid = Table(box=SIMPLE_HEAD)
    for number, column in enumerate(columns):
        grid.add_column(column, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        grid.add_row(*row)
    Console(width=110).print(grid)


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    info = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", info.read_text()) if info.is_file() else None
    cpu = model[1] if model else platform.processor() or platform.machine()
    versions = {package: version(package) for package in ("torch", "pytorch-lightning", "hydra-core")}
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    parts = {"cpu": cpu, "cores": os.cpu_count(), "threads": torch.get_num_threads(), "gpu": gpu}
    return parts | {"python": platform.python_version()} | versions


def save_data(name: str, file: Path) -> None:
    """The training and validation images as arrays, for the others."""
    (images, labels), _ = Digits().load() if name == "digits" else read_mnist(mnist_root())
    x, y, val = images[:, 0].numpy(), labels.numpy(), len(labels) // 5
    np.savez(file, x_train=x[:-val], y_train=y[:-val], x_val=x[-val:], y_val=y[-val:])


def mnist_root() -> Path:
    return Path(os.environ.get("LRDECAY_DATA", "data")).resolve()


# --- parts -----------------------------------------------------------------------------------------------------------


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


def ratio(ours: list[float], others: list[float]) -> float:
    """The median of the ratios within a round."""
    return statistics.median(one / other for one, other in zip(ours, others, strict=True))


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
        "seconds": record.epoch_seconds,
        "val_acc": [row["val/acc"] for row in record.epochs],
        "utilisation": statistics.median(utilisation) if utilisation else None,
    }


def step(bench: Bench) -> None:
    """Where the time of a training step on the CPU goes, and what of it a bare loop would not need."""
    bare, full = [], []
    for seed in range(bench.rounds):
        bare.append(bench.peer("no_framework", seed))
        what = ["trainer=cpu", f"data={bench.data}", f"seed={seed}", f"trainer.max_epochs={bench.epochs}"]
        bench.train(*what, "+trainer.limit_val_batches=0")
        record = read(newest(bench.folder / "runs") / "record.json")
        full.append(statistics.median(record.epoch_seconds[1:]) / record.steps_per_epoch)
    steps = record.steps_per_epoch
    loop = [statistics.median(result["seconds"][1:]) / steps for result in bare]
    parts = {
        name: statistics.median(statistics.median(result["parts"][name][1:]) for result in bare) / steps
        for name in bare[0]["parts"]
    }
    share = statistics.median(1 - one / whole for one, whole in zip(loop, full, strict=True))
    whole = statistics.median(full)
    profiled = profile(bench)
    bench.results["step"] = {"ms": 1e3 * whole, "framework_share": share, "profiled_us": profiled}
    bench.results["step"]["parts_ms"] = {name: 1e3 * value for name, value in parts.items()}
    rows = [[name, f"{1e6 * value:.0f}", f"{100 * value / whole:.1f}%"] for name, value in parts.items()]
    rows.append(["the framework's own", f"{1e6 * share * whole:.0f}", f"{100 * share:.1f}%"])
    rows += [[f"  of it {name}", f"{value:.0f}", f"{1e-4 * value / whole:.1f}%"] for name, value in profiled.items()]
    rows.append(["a step", f"{1e6 * whole:.0f}", "100%"])
    table(f"A training step on {bench.data}, median of {bench.rounds} rounds", ["", "µs", "part"], rows)


def profile(bench: Bench) -> dict[str, float]:
    """µs a step of some hooks, by Lightning's profiler, which adds a little to each."""
    bench.train("debug=profile", f"data={bench.data}")
    lines = (newest(bench.folder / "runs") / "fit-profile.txt").read_text().splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.count("|") > 4]
    seconds = {row[0]: float(row[3]) for row in cells if row[2].isdigit()}
    (steps,) = (int(row[2]) for row in cells if row[0] == "run_training_batch")
    hooks = {
        "schedule": r"\[LightningModule\].*\.(lr_scheduler_step|on_before_optimizer_step)",
        "logging": r"\[LightningModule\].*\.on_train_batch_end",
        "callbacks": r"\[Callback\].*\.on_(train_batch|before|after)_\w+",
    }
    return {
        name: 1e6 * sum(value for action, value in seconds.items() if re.fullmatch(pattern, action)) / steps
        for name, pattern in hooks.items()
    }


def startup(bench: Bench) -> None:
    """From the command to its answer, and to the first step of a training."""
    commands = {"--help": ["--help"], "--cfg job": ["--cfg", "job"]}
    seconds: dict[str, list[float]] = {name: [] for name in [*commands, "first training step, digits"]}
    for _ in range(bench.rounds):
        for name, arguments in commands.items():
            seconds[name].append(timed(lambda arguments=arguments: run([sys.executable, "train.py", *arguments])))
        start = time.time()
        done = bench.train("data=digits", "trainer.max_epochs=1", "+callbacks.clock._target_=first_step.Clock",
                           PYTHONPATH=str(PEERS))  # fmt: skip
        seconds["first training step, digits"].append(float(done.stderr.split("first step at ")[1].split()[0]) - start)
    bench.results["startup"] = seconds
    rows = [[name, f"{statistics.median(values):.2f}"] for name, values in seconds.items()]
    table(f"Start-up, seconds, median of {bench.rounds} rounds", ["", "seconds"], rows)


def sweep(bench: Bench) -> None:
    """Eight short runs, one after the other and side by side."""
    ways = {
        "one after the other": [],
        "one after the other, one thread": ["process.threads=1"],
        "side by side, hydra/launcher=parallel": ["hydra/launcher=parallel"],
    }
    eight = [f"data={bench.data}", f"trainer.max_epochs={bench.epochs}", "schedule=constant,step,exponential,cosine"]

    def sweep_in(way: list[str]) -> float:
        return timed(lambda: bench.train("-m", *eight, "seed=1,2", *way))

    seconds = take_turns({name: lambda _, way=way: sweep_in(way) for name, way in ways.items()}, bench.rounds)
    parallel = seconds["side by side, hydra/launcher=parallel"]
    ratios = {name: ratio(values, parallel) for name, values in seconds.items()}
    bench.results["sweep"] = {"seconds": seconds, "throughput_of_parallel": ratios, "epochs": bench.epochs}
    rows = []
    for name, values in seconds.items():
        median = statistics.median(values)
        rows.append([name, f"{median:.1f}", f"{median / (8 * bench.epochs):.2f}", f"{ratios[name]:.2f}"])
    columns = ["", "seconds", "per run and epoch", "throughput of side by side : it"]
    table(f"A sweep of 8 runs of {bench.epochs} epochs on {bench.data}, from command to comparison", columns, rows)


def records(bench: Bench) -> None:
    """The comparison of many records."""
    bench.train("-m", "data=digits", "trainer.max_epochs=20", "schedule=cosine", "seed=1,2", "name=originals")
    original = json.loads(next((bench.folder / "sweeps/originals").glob("*/record.json")).read_text())
    del original["digest"]
    seconds = {}
    for count in (10, 100, 500, 1000):
        folder = bench.folder / f"records-{count}"
        for number in range(count):
            original["config"] |= {"seed": number % 10, "optimizer": {"lr": 1e-3 * (1 + number // 10 % 10)}}
            original["config"]["data"]["batch_size"] = 64 + number // 100
            (folder / str(number)).mkdir(parents=True)
            (folder / str(number) / "record.json").write_text(json.dumps(original | {"digest": digest(original)}))
        command = [sys.executable, "scripts/compare.py", str(folder)]
        seconds[str(count)] = statistics.median(
            timed(lambda command=command: run(command)) for _ in range(bench.rounds)
        )
    bench.results["records"] = seconds
    rows = [[f"{int(count):,} records", f"{value:.2f}"] for count, value in seconds.items()]
    table("scripts/compare.py, from command to page", ["", "seconds"], rows)


def memory(bench: Bench) -> None:
    """The resident set of one run, of a long one, and of a long sweep."""
    long = ["data=digits", "trainer.max_epochs=200"]
    jobs = ["-m", "data=digits", "trainer.max_epochs=1", f"seed={','.join(map(str, range(50)))}"]
    commands = {
        f"{bench.data}, {bench.epochs} epochs": [f"data={bench.data}", f"trainer.max_epochs={bench.epochs}"],
        "digits, 200 epochs": long,
        "digits, a sweep of 50 jobs": jobs,
    }
    found, rows = {}, []
    for name, arguments in commands.items():
        sizes = resident_sizes(bench, arguments)
        half, end = max(sizes[: len(sizes) // 2 + 1]), max(sizes[int(0.9 * len(sizes)) :])
        found[name] = {"peak_mb": max(sizes), "half_mb": half, "end_mb": end}
        rows.append([name, f"{max(sizes):.0f}", f"{half:.0f}", f"{end:.0f}"])
    run_folder = newest(bench.folder / "runs")
    found["digits, 200 epochs"]["bytes"] = {
        file.name.split(".")[0]: file.stat().st_size for file in sorted(run_folder.iterdir()) if file.is_file()
    }
    bench.results["memory"] = found
    table("Resident set, MB", ["", "highest", "highest in first half", "highest in last tenth"], rows)


def resident_sizes(bench: Bench, arguments: list[str]) -> list[float]:
    """The resident set in MB, asked for twice a second while ``train.py`` runs."""
    command = [sys.executable, "train.py", *arguments, f"output_dir={bench.folder}"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    sizes = []
    while process.poll() is None:
        if found := re.search(r"VmRSS:\s*(\d+)", Path(f"/proc/{process.pid}/status").read_text()):
            sizes.append(int(found[1]) / 1024)
        time.sleep(0.5)
    if process.returncode != 0:
        sys.exit(f"error: {' '.join(command)} ended with status {process.returncode}")
    return sizes


def schedules(bench: Bench) -> None:
    """What schedules cost: a million steps as one array, and the rate set at each step of a training."""
    rows, found = [], {}
    for schedule in catalogue():
        name = type(schedule).__name__ + (" with everything" if schedule.momentum else "")
        array = statistics.median(timed(lambda s=schedule: evaluate(s)) for _ in range(bench.rounds))
        one = statistics.median(timed(lambda s=schedule: set_rates(s)) for _ in range(bench.rounds)) / SET
        found[name] = {"million_steps_ms": 1e3 * array, "set_at_a_step_us": 1e6 * one}
        rows.append([name, f"{1e3 * array:.0f}", f"{1e6 * one:.1f}"])
    bench.results["schedules"] = found
    table(f"Schedules, median of {bench.rounds} rounds", ["", "10⁶ steps, ms", "set at a step, µs"], rows)


SET = 20_000


def evaluate(schedule: Schedule) -> None:
    schedule.factor(np.arange(1_000_000), Horizon(1_000_000, 1000))


def set_rates(schedule: Schedule) -> None:
    """Sets rate, momentum and weight decay of an optimizer at each of `SET` steps."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    rates = Rates(torch.optim.AdamW([parameter], weight_decay=0.01), schedule, Horizon(SET, 1000))
    rates.optimizer.step()
    for number in range(SET):
        if rates.more_than_rates:
            rates.before_step(number)
        rates.scheduler.step()


def catalogue() -> list[Schedule]:
    """Every shape with its defaults, and one with all that can be placed around it."""
    from lrdecay import schedules as shapes

    classes = [value for value in vars(shapes).values() if isinstance(value, type) and issubclass(value, Schedule)]
    everything = shapes.Cosine(
        warmup="5%", warmup_curve="cosine", cooldown="20%", sample_every="0.3ep", momentum=(0.85, 0.95),
        weight_decay="constant",
    )  # fmt: skip
    return [*(cls() for cls in classes if cls is not Schedule), everything]


def article(bench: Bench) -> None:
    """The accuracies of the article's experiment, with everything that makes it fast."""
    seconds = timed(lambda: bench.train("-m", "experiment=article", "hydra/launcher=parallel", "name=article"))
    text = run([sys.executable, "scripts/compare.py", str(bench.folder / "sweeps/article")]).stdout
    bench.results["article"] = {"seconds": seconds, "table": text}
    print(f"The article's experiment, {format_seconds(seconds)} with hydra/launcher=parallel\n{text}")


PARTS = {part.__name__: part for part in (training, step, startup, sweep, records, memory, schedules, article)}

# --- around them -----------------------------------------------------------------------------------------------------


def take_turns(contestants: dict[str, Callable[[int], Any]], rounds: int) -> dict[str, list[Any]]:
    """What each gave, called with the number of the round; every other round goes backwards, against drift."""
    results: dict[str, list[Any]] = {name: [] for name in contestants}
    for number in range(rounds):
        for name in list(contestants)[:: 1 if number % 2 == 0 else -1]:
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr, flush=True)
            results[name].append(contestants[name](number))
    return results


def newest(folder: Path) -> Path:
    """The folder of the last run."""
    return max(folder.iterdir(), key=lambda path: path.stat().st_mtime)


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
        lines = monitor.stdout or []
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)} [all but article]")
    parser.add_argument("--rounds", type=int, default=3, help="how often contestants take turns [%(default)s]")
    parser.add_argument("--epochs", type=int, default=3, help="of a training; the first does not count [%(default)s]")
    parser.add_argument("--data", choices=["mnist", "digits"], default="mnist", help="[%(default)s]")
    parser.add_argument("--keras-python", default=sys.executable, help="interpreter with Keras and TensorFlow")
    parser.add_argument("--output", type=Path, default=Path("outputs/benchmark"), help="folder [%(default)s]")
    arguments = parser.parse_args()
    for part in arguments.parts:
        if part not in PARTS:
            parser.error(f"{part}: must be one of {', '.join(PARTS)}")
    for key, least in (("rounds", 1), ("epochs", 2)):
        if getattr(arguments, key) < least:
            parser.error(f"--{key}={getattr(arguments, key)}: must be at least {least}")
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(arguments.rounds, arguments.epochs, Path(temporary), arguments.data, arguments.keras_python)
        bench.results["machine"] = machine()
        try:
            save_data(arguments.data, bench.folder / "data.npz")
        except (OSError, ConfigError) as error:
            sys.exit(f"error: --data={arguments.data}: {error}; LRDECAY_DATA names the folder with MNIST/raw")
        print(" · ".join(f"{key} {value}" for key, value in bench.results["machine"].items()))
        for part in arguments.parts or [name for name in PARTS if name != "article"]:
            PARTS[part](bench)
            save(bench, arguments.output)
    print(arguments.output)


def save(bench: Bench, folder: Path) -> None:
    """The results so far as JSON, and the training as a bar chart."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "benchmark.json", json.dumps(bench.results, indent=1).encode())
    if found := bench.results.get("training"):
        seconds = {name: row["seconds"] for name, row in found.items()}
        cores = bench.results["machine"]["cores"]
        title = f"Seconds an epoch, {bench.data}, batch 64, with validation ({cores} cores)"
        write_atomically(folder / "training.png", bar_chart(seconds, title))


if __name__ == "__main__":
    main()
