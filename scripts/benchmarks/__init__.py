"""The parts of ``scripts/benchmark.py``, one a file: a function of the `Bench` that they share."""

from benchmarks.article import article
from benchmarks.memory import memory
from benchmarks.records import records
from benchmarks.scale import scale
from benchmarks.schedules import schedules
from benchmarks.startup import startup
from benchmarks.step import step
from benchmarks.sweep import sweep
from benchmarks.training import training

PARTS = {part.__name__: part for part in (training, step, startup, sweep, records, memory, schedules, scale, article)}
"""By name, in the order in which they run."""
