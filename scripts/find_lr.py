"""Learning-rate range test: ``python scripts/find_lr.py --help``."""

from pathlib import Path

from lrdecay.cli.program import run

if __name__ == "__main__":
    run("find-lr", Path(__file__).resolve().parent.parent / "conf")
