"""A schedule refined by gradient norms: ``python scripts/refine.py --help``."""

from lrdecay.cli.errors import one_line_errors
from lrdecay.cli.refine import main

if __name__ == "__main__":
    with one_line_errors():
        main()
