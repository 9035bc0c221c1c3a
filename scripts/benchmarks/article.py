"""The accuracies of the article's experiment, with everything that makes it fast."""

import sys

from benchmarks.bench import Bench, run, timed
from lrdecay.text import format_seconds


def article(bench: Bench) -> None:
    """The accuracies of the article's experiment, with everything that makes it fast."""
    seconds = timed(lambda: bench.train("-m", "experiment=article", "hydra/launcher=parallel", "name=article"))
    text = run([sys.executable, "scripts/compare.py", str(bench.folder / "sweeps/article")]).stdout
    bench.results["article"] = {"seconds": seconds, "table": text}
    print(f"The article's experiment, {format_seconds(seconds)} with hydra/launcher=parallel\n{text}")
