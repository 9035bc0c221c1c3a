"""Learning-rate decay, compared with evidence. Light to import: no torch."""

from importlib.metadata import version

__version__ = version("lrdecay")
