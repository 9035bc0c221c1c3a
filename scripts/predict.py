"""The loss of a schedule that was not trained: ``python scripts/predict.py --help``."""

from pathlib import Path

from lrdecay.cli.errors import one_line_errors
from lrdecay.cli.predict import main

if __name__ == "__main__":
    with one_line_errors():
        main(Path(__file__).resolve().parent.parent / "conf")
