"""``python -m lrdecay``: the command ``lrdecay``."""

from lrdecay.cli.program import main

if __name__ == "__main__":
    main()
