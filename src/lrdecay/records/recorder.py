"""The single writer of a run's record while the run lasts."""

import time

from lrdecay.records.record import Record, write


class Recorder:
    """Writes the record of a run, and counts the seconds that are spent on it.

    A run that is resumed keeps the record on disk until everything stands: ``underway`` says whether the one in memory
    may replace it.
    """

    def __init__(self, record: Record, underway: bool = True) -> None:
        self.record = record
        self.underway = underway
        self.count_from(record.progress.seconds)

    def count_from(self, seconds: float) -> None:
        """Continues counting from this many seconds."""
        self._began = time.monotonic() - seconds

    def elapsed(self) -> float:
        """Seconds spent on the run until now."""
        return time.monotonic() - self._began

    def write(self) -> None:
        """Writes it as it is now."""
        self.record.progress.seconds = self.elapsed()
        write(self.record)
