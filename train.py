"""Trains one run, or with ``-m`` a sweep: ``python train.py schedule=cosine``, ``--help`` for more."""

from pathlib import Path

from lrdecay.cli.program import run

if __name__ == "__main__":
    run("train", Path(__file__).resolve().parent / "conf")
