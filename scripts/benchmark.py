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
import sys
import tempfile
from pathlib import Path

from benchmarks import PARTS
from benchmarks.bench import Bench, machine, save_data
from benchmarks.charts import bar_chart, growth_figure
from lrdecay.errors import ConfigError
from lrdecay.files import write_atomically


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
    """The results so far as JSON, and charts of the training and of how costs grow."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "benchmark.json", json.dumps(bench.results, indent=1).encode())
    if found := bench.results.get("training"):
        seconds = {name: row["seconds"] for name, row in found.items()}
        cores = bench.results["machine"]["cores"]
        title = f"Seconds an epoch, {bench.data}, batch 64, with validation ({cores} cores)"
        write_atomically(folder / "training.png", bar_chart(seconds, title))
    if found := bench.results.get("scale"):
        write_atomically(folder / "scale.png", growth_figure(found, "As work grows"))


if __name__ == "__main__":
    main()
