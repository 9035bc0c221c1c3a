"""Importing much, as quickly as can be."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """For imports of torch and what comes with it: nothing is collected meanwhile, nor ever looked through again.

    Modules stay until the end, so looking for garbage among their million objects finds none: it took a fifth of the
    time to import them, and a quarter of a second after each job of a sweep. Where torch is imported already, as in
    the second job, there is nothing to gain, and what is garbage must stay to be found.
    """
    if "torch" in sys.modules:
        yield
        return
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
