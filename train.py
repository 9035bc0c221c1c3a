"""Trains one run, or with ``-m`` a sweep: ``python train.py schedule=cosine``, ``--help`` for more."""

from pathlib import Path

from lrdecay.cli.train import main

if __name__ == "__main__":
    main(Path(__file__).resolve().parent / "conf")
