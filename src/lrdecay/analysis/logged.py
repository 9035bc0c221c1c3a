"""What a run logged within its epochs, which its record does not hold."""

import pandas as pd

from lrdecay.metrics import METRICS_FILE
from lrdecay.records.record import Record


def logged(run: Record, name: str) -> pd.Series:
    """Values by optimizer step, as the run's ``metrics.csv`` has them; none where it has no such column or file."""
    try:
        table = pd.read_csv(run.directory / METRICS_FILE)
        values: pd.Series = table.set_index("step")[name].dropna().astype(float)
    except (OSError, KeyError, ValueError):
        return pd.Series(dtype=float)
    return values
