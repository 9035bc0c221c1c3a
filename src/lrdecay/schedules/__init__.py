"""Learning-rate schedules: pure functions of the optimizer step, in float64, without torch.

Every schedule is a *placement* in the run, shared by all (`Schedule`), times a *shape* of the decay, one small class
each. The rate of a parameter group is its own initial rate η₀ times `Schedule.factor`.

To add one: a frozen dataclass with a ``shape`` method, a file in ``conf/schedule/`` and a row in the conformance test.
"""

from lrdecay.schedules.curves import RateCurve
from lrdecay.schedules.cycles import CosineRestarts, Cyclic
from lrdecay.schedules.durations import Duration
from lrdecay.schedules.free import Spline, Table
from lrdecay.schedules.horizon import Horizon
from lrdecay.schedules.joins import Join
from lrdecay.schedules.length import Length
from lrdecay.schedules.placement import Schedule
from lrdecay.schedules.scales import Greedy, Plateau, Scale
from lrdecay.schedules.smooth import Cosine, Exponential, InverseSqrt, InverseTime, Polynomial, Power, Rex, Tanh
from lrdecay.schedules.steps import Constant, Step
from lrdecay.schedules.tables import MultiStep, Piecewise

__all__ = [
    "Constant",
    "Cosine",
    "CosineRestarts",
    "Cyclic",
    "Duration",
    "Exponential",
    "Greedy",
    "Horizon",
    "InverseSqrt",
    "InverseTime",
    "Join",
    "Length",
    "MultiStep",
    "Piecewise",
    "Plateau",
    "Polynomial",
    "Power",
    "RateCurve",
    "Rex",
    "Scale",
    "Schedule",
    "Spline",
    "Step",
    "Table",
    "Tanh",
]
