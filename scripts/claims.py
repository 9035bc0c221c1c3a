"""Tests claims about schedules: ``python scripts/claims.py --help``."""

from pathlib import Path

from lrdecay.cli.claims import main
from lrdecay.cli.errors import one_line_errors

if __name__ == "__main__":
    with one_line_errors():
        main(Path(__file__).resolve().parent.parent / "conf")
