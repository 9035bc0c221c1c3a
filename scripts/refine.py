"""A schedule refined by gradient norms: ``python scripts/refine.py --help``."""

from pathlib import Path

from lrdecay.cli.program import run

if __name__ == "__main__":
    run("refine", Path(__file__).resolve().parent.parent / "conf")
