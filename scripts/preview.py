"""Draws learning rates over a run: ``python scripts/preview.py --help``."""

from pathlib import Path

from lrdecay.cli.program import run

if __name__ == "__main__":
    run("preview", Path(__file__).resolve().parent.parent / "conf")
