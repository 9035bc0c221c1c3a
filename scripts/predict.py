"""The loss of a schedule that was not trained: ``python scripts/predict.py --help``."""

from pathlib import Path

from lrdecay.cli.program import run

if __name__ == "__main__":
    run("predict", Path(__file__).resolve().parent.parent / "conf")
