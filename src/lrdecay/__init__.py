"""How should the learning rate decay? Schedules, and the evidence that sweeps of them leave.

Importing the package takes no time; the schedules need numpy, and `load` and `compare` the rest, once they are used.

>>> from lrdecay import Cosine, Horizon
>>> rate = Cosine(warmup="5%", final=0.01).over(Horizon(total_steps=15_000, steps_per_epoch=750))
>>> 1e-3 * rate(750), 1e-3 * rate(15_000)
(0.001, 1e-05)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lrdecay.analysis.api import compare, load
    from lrdecay.schedules import (
        Constant,
        Cosine,
        CosineRestarts,
        Cyclic,
        Exponential,
        Horizon,
        InverseSqrt,
        InverseTime,
        Join,
        MultiStep,
        Piecewise,
        Polynomial,
        Power,
        Rex,
        Schedule,
        Spline,
        Step,
        Table,
        Tanh,
    )

__all__ = [
    "Constant",
    "Cosine",
    "CosineRestarts",
    "Cyclic",
    "Exponential",
    "Horizon",
    "InverseSqrt",
    "InverseTime",
    "Join",
    "MultiStep",
    "Piecewise",
    "Polynomial",
    "Power",
    "Rex",
    "Schedule",
    "Spline",
    "Step",
    "Table",
    "Tanh",
    "compare",
    "load",
]


def __getattr__(name: str) -> Any:
    """What is named is imported then: a command line that only prints its help takes not even numpy."""
    if name == "__version__":
        from importlib.metadata import version

        return version("lrdecay")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in ("compare", "load"):
        from lrdecay.analysis import api as home
    else:
        from lrdecay import schedules as home  # type: ignore[no-redef]
    return getattr(home, name)
