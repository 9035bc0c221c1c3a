"""Importing much, as quickly as can be."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """For imports of torch and what comes with it: nothing is collected meanwhile, nor ever looked through again.

    Modules stay until the end, so looking for garbage among their million objects finds none: it took a fifth of the
    time to import them, and a quarter of a second after each job of a sweep.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
