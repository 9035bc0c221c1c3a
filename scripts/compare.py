"""Compares runs: ``python scripts/compare.py --help``."""

from pathlib import Path

from lrdecay.cli.program import run

if __name__ == "__main__":
    run("compare", Path(__file__).resolve().parent.parent / "conf")
