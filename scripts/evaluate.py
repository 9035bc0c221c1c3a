"""Tests the saved weights of runs: ``python scripts/evaluate.py --help``."""

from pathlib import Path

from lrdecay.cli.program import run

if __name__ == "__main__":
    run("evaluate", Path(__file__).resolve().parent.parent / "conf")
