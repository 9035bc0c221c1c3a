"""Tests claims about schedules: ``python scripts/claims.py --help``."""

from pathlib import Path

from lrdecay.cli.program import run

if __name__ == "__main__":
    run("claims", Path(__file__).resolve().parent.parent / "conf")
