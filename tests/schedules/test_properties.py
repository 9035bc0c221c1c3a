"""What holds for every schedule with any valid parameters, in runs of any length."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from lrdecay.errors import BadValue
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
from lrdecay.schedules.placement import CURVES

ratio = st.floats(0, 1)
part = st.floats(0.01, 1)
power = st.floats(0.1, 8)
length = st.one_of(
    st.integers(1, 3000), st.integers(1, 100).map("{}%".format), st.floats(0.1, 30).map("{:.3f}ep".format)
)
middle = st.integers(40, 100)  # percent of the run; warm-up and hold end before

SHAPES = {
    Constant: {},
    Step: {"every": length, "gamma": part},
    MultiStep: {
        "milestones": st.lists(st.integers(40, 69), unique=True, max_size=4).map(
            lambda x: [f"{i}%" for i in sorted(x)]
        ),
        "gamma": part,
    },
    Piecewise: {
        "points": st.dictionaries(st.integers(40, 69), ratio, max_size=4).map(
            lambda x: [(f"{i}%", x[i]) for i in sorted(x)]
        ),
        "curve": st.sampled_from(["linear", "cosine", "constant"]),
    },
    Exponential: {"rate": st.floats(0, 100), "per": length},
    InverseTime: {"rate": st.floats(0, 100), "per": length},
    InverseSqrt: {"timescale": length},
    Power: {"peak_until": middle.map("{}%".format), "exponent": st.floats(-3, 0)},
    Polynomial: {"power": power, "k": power},
    Cosine: {"power": power, "k": power},
    CosineRestarts: {"cycles": st.integers(1, 6), "length_factor": st.floats(0.5, 3), "peak_factor": part},
    Cyclic: {
        "up": st.integers(1, 30).map("{}%".format),
        "down": st.integers(1, 30).map("{}%".format),
        "mode": st.sampled_from(["triangular", "triangular2", "exp_range"]),
        "gamma": st.floats(0.9, 1),
    },
    Tanh: {"lower": st.floats(-20, -0.1), "upper": st.floats(0.1, 20)},
    Rex: {"beta": part},
    Spline: {"quarter": ratio, "half": ratio, "three_quarters": ratio},
    Table: {
        "points": st.dictionaries(st.floats(0.001, 1), ratio, min_size=1, max_size=5).map(
            lambda x: list(zip(sorted(x), sorted(x.values(), reverse=True), strict=True))
        ),
        "csv": st.none(),
        "expression": st.none(),
        "between": st.sampled_from(["linear", "monotone", "constant"]),
    },
    Join: {
        "first": st.builds(Cosine, final=part),
        "second": st.sampled_from([Cosine(), Step(), Constant(cooldown="20%")]),
        "at": st.integers(40, 69).map("{}%".format),
        "continuous": st.just(True),
    },
}
PLACEMENT = {
    "warmup": st.one_of(st.just(0), st.integers(0, 20).map("{}%".format)),
    "warmup_from": ratio,
    "warmup_curve": st.sampled_from(sorted(CURVES)),
    "hold": st.one_of(st.just(0), st.integers(0, 19).map("{}%".format)),
    "cooldown": st.one_of(st.just(0), st.integers(0, 30).map("{}%".format)),
    "cooldown_curve": st.sampled_from(sorted(CURVES)),
    "final": ratio,
}
RISING = (Piecewise, CosineRestarts, Cyclic)
TO_THE_FLOOR = (Polynomial, Cosine, CosineRestarts, Tanh, Rex, Spline)

horizons = st.builds(Horizon, st.one_of(st.integers(1, 300), st.just(10**9)), st.integers(1, 1000))
schedules = st.one_of([st.builds(cls, **shape, **PLACEMENT) for cls, shape in SHAPES.items()])
any_run = given(schedules, horizons, st.data())
thorough = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def fitting(schedule: Schedule, horizon: Horizon) -> bool:
    try:
        schedule.phases(horizon)
    except BadValue:
        return False
    return True


def some_steps(schedule: Schedule, horizon: Horizon, data: st.DataObject) -> np.ndarray:
    """Steps in order: every one of a short run, and of a long one the ends, the seams and some between."""
    total, phases = horizon.total_steps, schedule.phases(horizon)
    if total <= 300:
        return np.arange(total + 1)
    seams = [0, phases.warmup, phases.start, total - phases.cooldown, total]
    chosen = data.draw(st.lists(st.integers(0, total), max_size=50))
    near = {step + shift for step in (*seams, *chosen) for shift in (-1, 0, 1)}
    return np.array(sorted(step for step in near if 0 <= step <= total))


@thorough
@any_run
def test_bounds_start_peak_end_and_monotony(schedule, horizon, data):
    assume(fitting(schedule, horizon))
    steps = some_steps(schedule, horizon, data)
    phases, total = schedule.phases(horizon), horizon.total_steps
    factor = schedule.factor(steps, horizon)
    assert np.isfinite(factor).all()
    lowest = min(schedule.final, schedule.warmup_from) if phases.warmup else schedule.final
    assert (factor >= lowest - 1e-12).all()
    assert (factor <= 1 + 1e-12).all()
    if phases.warmup:
        assert schedule.factor(0, horizon) == schedule.warmup_from
    if phases.decay:
        assert schedule.factor(phases.start, horizon) == pytest.approx(1, rel=1e-12)
    if (isinstance(schedule, TO_THE_FLOOR) and phases.decay) or phases.cooldown:
        assert schedule.factor(total, horizon) == pytest.approx(schedule.final, rel=1e-12, abs=1e-12)
    at_end = schedule.factor(total, horizon)
    assert (schedule.factor([total + 1, total + 777, 10**15], horizon) == at_end).all()
    if not isinstance(schedule, RISING):
        falling = factor[steps >= phases.warmup]
        assert (np.diff(falling) <= 1e-12).all()
    rising = factor[steps <= phases.warmup]
    assert (np.diff(rising) >= -1e-12).all()


@thorough
@any_run
def test_a_scalar_is_what_the_array_has_there(schedule, horizon, data):
    assume(fitting(schedule, horizon))
    steps = some_steps(schedule, horizon, data)[:40]
    alone = [schedule.factor(int(step), horizon) for step in steps]
    assert all(isinstance(value, float) for value in alone)
    assert_allclose(schedule.factor(steps, horizon), alone, rtol=1e-14, atol=1e-300)


@thorough
@given(
    schedules,
    horizons,
    st.data(),
    st.one_of(st.integers(1, 50), st.just("1ep"), st.floats(0.1, 50).map("{!r}%".format)),
)
def test_sampled_it_is_the_same_at_fewer_places(schedule, horizon, data, every):
    assume(fitting(schedule, horizon))
    sampled = dataclasses.replace(schedule, sample_every=every)
    steps = some_steps(schedule, horizon, data)
    assume(horizon.total_steps <= 300)
    kept = set(schedule.factor(steps, horizon).tolist())
    assert set(sampled.factor(steps, horizon).tolist()) <= kept
    assert sampled.factor(0, horizon) == schedule.factor(0, horizon)


@thorough
@given(schedules, horizons, st.data(), ratio, ratio)
def test_momentum_goes_against_the_rate(schedule, horizon, data, a, b):
    assume(fitting(schedule, horizon))
    low, high = sorted((min(a, 0.999), min(b, 0.999)))
    steps = some_steps(schedule, horizon, data)
    momentum = dataclasses.replace(schedule, momentum=(low, high)).momentum_at(steps, horizon)
    assert (momentum >= low - 1e-12).all()
    assert (momentum <= high + 1e-12).all()
    phases = schedule.phases(horizon)
    after = steps >= phases.warmup
    # After the warm-up both are the same curve, upside down.
    height = (high - momentum) * (1 - schedule.final)
    assert_allclose(
        height[after], ((schedule.factor(steps, horizon) - schedule.final) * (high - low))[after], atol=1e-12
    )


MEANS = {
    Constant(): 1.0,
    Polynomial(power=3): 1 / 4,
    Polynomial(k=2): 2 / 3,
    Polynomial(k=0.5): 1 / 3,
    Cosine(): 1 / 2,
    Cosine(final=0.2): 0.6,
    CosineRestarts(cycles=4): 1 / 2,
    CosineRestarts(cycles=2, length_factor=1, peak_factor=0.5): 3 / 8,
    Exponential(rate=3, per="100%"): (1 - math.exp(-3)) / 3,
    InverseTime(rate=3, per="100%"): math.log(4) / 3,
    InverseSqrt(timescale="50%"): math.sqrt(3) - 1,
    Power(peak_until="25%", exponent=-0.5): 0.75,
    Rex(): 2 - 2 * math.log(2),
    Rex(beta=1): 1 / 2,
    Table(points=[[0.5, 0.5], [0.8, 0]]): 0.75 * 0.5 + 0.25 * 0.3,
    Table(points=[[0, 2], [0.5, 0]], between="constant"): 1.0,
    Table(expression="(1 - p)**3"): 1 / 4,
    Spline(quarter=1, half=0, three_quarters=0): 0.25 + 0.125,
    Join(first=Polynomial(final=0.5), second=Polynomial()): 0.75 / 2 + 0.25 / 2,
    Join(first=Polynomial(), second=Polynomial(), continuous=False): 1 / 2,
    Join(first=Constant(), second=Constant(cooldown="50%"), at="60%"): 0.6 + 0.2 + 0.1,
    Step(every="25%", gamma=0.5): (1 + 1 / 2 + 1 / 4 + 1 / 8) / 4,
    MultiStep(milestones=["20%", "70%"], gamma=0.1): 0.2 + 0.5 * 0.1 + 0.3 * 0.01,
    Piecewise(points=[["50%", 0.5], ["100%", 0]]): 0.75 / 2 + 0.25 / 2,
    Cyclic(up="5%", down="15%"): 1 / 2,
    Cyclic(up="25%", down="25%", mode="triangular2"): (1 / 2 + 1 / 4 + 1 / 4 + 1 / 8) / 4 * 2 / 2,
    Constant(warmup="20%", cooldown="20%"): 0.8,
    Constant(cooldown="50%", cooldown_curve="sqrt"): 1 / 2 + 1 / 6,
    Constant(cooldown="50%", cooldown_curve="square"): 1 / 2 + 1 / 3,
    Constant(warmup="100%", warmup_curve="cosine"): 1 / 2,
    Constant(warmup="100%", warmup_curve="sqrt", warmup_from=0.4): 0.6,
    Cosine(warmup="20%", hold="30%"): 0.1 + 0.3 + 0.25,
}


@pytest.mark.parametrize(("schedule", "mean"), MEANS.items(), ids=lambda value: type(value).__name__)
def test_the_mean_factor_is_its_integral(schedule, mean):
    steps = 100_000
    factor = schedule.factor(np.arange(steps + 1), Horizon(steps, 1000))
    trapezoids = (factor[1:] + factor[:-1]).mean() / 2
    assert trapezoids == pytest.approx(mean, abs=5e-5)


REFUSED = [
    (Step, "gamma", [0, -0.1, 1.5, math.nan, math.inf, "x", True, None]),
    (Step, "every", [0, "0ep", -1, 0.5, 1.0, "150%", "3 parsecs", None]),
    (MultiStep, "gamma", [0, 1.5]),
    (MultiStep, "milestones", [5, "50%", [0.5], ["x"], [-1]]),
    (
        Piecewise,
        "points",
        [5, "50%", [["50%"]], [["50%", -1]], [["50%", "x"]], [["50%", math.nan]], [[0.3, 1]], ["ab"]],
    ),
    (Piecewise, "curve", ["sqrt", None]),
    (Exponential, "rate", [-1, math.nan, math.inf]),
    (Exponential, "per", [0, 0.1]),
    (InverseTime, "rate", [-1, math.nan]),
    (InverseTime, "per", [0]),
    (InverseSqrt, "timescale", [0, "0%"]),
    (Power, "exponent", [0.1, math.nan, -math.inf]),
    (Power, "peak_until", [0]),
    (Polynomial, "power", [0, -1, math.inf]),
    (Polynomial, "k", [0, -1]),
    (Cosine, "power", [0, -1]),
    (Cosine, "k", [0, -1]),
    (CosineRestarts, "cycles", [0, -1, 1.5, "3", True]),
    (CosineRestarts, "length_factor", [0, -1, math.inf]),
    (CosineRestarts, "peak_factor", [0, 1.1]),
    (Cyclic, "up", [0]),
    (Cyclic, "down", [0]),
    (Cyclic, "mode", ["saw", None]),
    (Cyclic, "gamma", [0, 1.1]),
    (Tanh, "lower", [3, 4, -21, math.nan, 2.9999]),
    (Tanh, "upper", [21, math.nan, "x"]),
    (Rex, "beta", [0, 1.1, "x"]),
    (Spline, "quarter", [-0.1, 1.1, None]),
    (Spline, "half", [-0.1, 1.1, "x"]),
    (Spline, "three_quarters", [-0.1, 1.1, True]),
    (
        Table,
        "points",
        [
            5,
            [],
            ["ab"],
            [[0, 1, 2]],
            [[0, -1]],
            [[1.1, 1]],
            [[-0.1, 1]],
            [["50%", 1]],
            [[0.5, 1], [0.5, 0]],
            [[0.5, 1], [0.4, 0]],
            [[0, math.nan]],
            [[i / 1001, 1] for i in range(1001)],
        ],
    ),
    (Table, "csv", ["nowhere.csv"]),
    (
        Table,
        "expression",
        [
            5,
            "",
            "1 +",
            "q",
            "p.real",
            "import os",
            "__import__('os')",
            "-" * 499 + "p",
            "open('x')",
            "[p]",
            "p p",
            "lambda: p",
            "-p",
            "1/p",
            "log(p)",
            "9**9**9**9",
            "max(p)",
            "sqrt(p, p, p)",
            "max(p, p, key=p)",
            "p if p else 1",
            "True",
            "1j",
            "p < 1",
            "p and 1",
            "p\nimport os",
            "(" * 300 + "p",
            "p" * 501,
        ],
    ),
    (Table, "between", ["cubic", None]),
    (Join, "first", ["cosine", None, Cosine(momentum=[0.8, 0.9]), Cosine(weight_decay="constant")]),
    (Join, "second", ["cosine", None]),
    (Join, "at", [-1, 0.5, "x", None]),
    (Join, "continuous", [1, "yes", None]),
    (Constant, "warmup", [-1, 0.1, "101%"]),
    (Constant, "warmup_from", [-0.1, 1.1, math.nan]),
    (Constant, "warmup_curve", ["x", None]),
    (Constant, "hold", [-3, "ep"]),
    (Constant, "cooldown", [-1, "x"]),
    (Constant, "cooldown_curve", ["constant"]),
    (Constant, "final", [-0.1, 1.1, True]),
    (Constant, "sample_every", [0, "0ep"]),
    (Constant, "momentum", [0.9, [0.9], [0.9, 0.8], [0.8, 1], [-0.1, 0.5], "ab", [0.1, "x"]]),
    (Constant, "weight_decay", [0.1, "off"]),
]


@pytest.mark.parametrize(
    ("cls", "key", "value"), [(cls, key, value) for cls, key, values in REFUSED for value in values], ids=repr
)
def test_refuses_by_name_what_is_out_of_range(cls, key, value):
    others = {"points": [[0, 1]]} if (cls, key) == (Table, "between") else {}
    with pytest.raises(BadValue, match=rf"^{key}=.*(: must be|is ambiguous: write) ") as refused:
        cls(**{key: value, **others})
    assert "\n" not in str(refused.value)


def test_every_parameter_of_every_schedule_is_refused_somewhere():
    fields = {(cls, f.name) for cls in SHAPES for f in dataclasses.fields(cls)}
    own = {(cls, name) for cls, name in fields if name in SHAPES[cls]}
    placed = {(Constant, f.name) for f in dataclasses.fields(Schedule)}
    assert own | placed == {(cls, key) for cls, key, _ in REFUSED}


def test_a_power_law_may_begin_where_the_warmup_ends():
    for length in (10, "0.95ep"):  # the second is a half of a step, and the warm-up is rounded to a whole one
        assert Power(peak_until=length, warmup=length).factor(10, Horizon(100, 10)) == pytest.approx(1, abs=0.03)


def test_a_shape_that_is_no_number_is_refused():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Broken(Schedule):
        def shape(self, u, decay_steps, horizon):
            return np.where(u == 7, np.nan, 1.0)

    message = r"^factor=nan: must be a finite number, at step 7 of 100 under .*Broken\("
    with pytest.raises(BadValue, match=message):
        Broken().factor(range(20), Horizon(100, 10))
    assert Broken().factor(6, Horizon(100, 10)) == 1


def test_momentum_stays_in_its_range_where_the_rate_is_above_its_peak():
    schedule = Piecewise(points=[[50, 2.0]], momentum=(0.8, 0.9))
    assert schedule.factor(50, Horizon(100, 10)) == 2
    assert schedule.momentum_at(50, Horizon(100, 10)) == pytest.approx(0.8)
    assert isinstance(schedule.momentum_at(50, Horizon(100, 10)), float)


def test_cycles_of_one_step_fit():
    factor = CosineRestarts(cycles=100, length_factor=1).factor(range(101), Horizon(100, 10))
    assert (factor[:100] == 1).all()
    assert factor[100] == 0


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (MultiStep(milestones=["75%", "50%"]), r"milestones=\[75%, 50%\]: must be in rising order, not at"),
        (MultiStep(milestones=[50, 50]), r"milestones=\[50, 50\]: must be in rising order"),
        (MultiStep(milestones=["11ep"]), r"milestones=\[11ep\]: must be within the run, \[0, 100\), not at steps 110"),
        (MultiStep(milestones=[100]), r"milestones=\[100\]: must be within the run, \[0, 100\)"),
        (MultiStep(milestones=[5], warmup=10), r"milestones=\[5\]: must be within the decay, \[10, 100\)"),
        (Piecewise(points=[[50, 1], [40, 1]]), r"points=\[50, 40\]: must be in rising order"),
        (Piecewise(points=[[101, 1]]), r"points=\[101\]: must be within the run, \[0, 100\]"),
        (Piecewise(points=[["10.04ep", 1]]), r"points=\[10.04ep\]: must be within the run, \[0, 100\], not at steps"),
        (MultiStep(milestones=[95], cooldown=10), r"milestones=\[95\]: must be within the decay, \[0, 90\)"),
        (CosineRestarts(cycles=101), "cycles=101 with length_factor=2: must be so few that each is a step"),
        (CosineRestarts(cycles=7), "cycles=7 with length_factor=2: must be so few"),
        (CosineRestarts(cycles=10**9), "cycles=1000000000 with"),
        (CosineRestarts(cycles=12, length_factor=0.5), "cycles=12 with length_factor=0.5: must be so few"),
        (Join(at=100), r"at=100: must be within the decay, \(0, 100\), not at step 100"),
        (Join(at="5%", warmup="5%"), r"at=5%: must be within the decay, \(5, 100\), not at step 5"),
        (Join(at="90%", cooldown="10%"), r"at=90%: must be within the decay, \(0, 90\), not at step 90"),
        (Join(first=Cosine()), r"first=Cosine\(.*\): must be above 0 at its end"),
        (Join(second=Constant(warmup=60)), r"second\.warmup=60: 60 steps must be at most the run's 50"),
        (Cyclic(down="11ep"), "down=11ep: must be at most the 100 steps of the decay"),
        (Power(peak_until=5, warmup=10), "peak_until=5: must be at least warm-up and hold, 10 steps"),
        (Constant(warmup="50%", hold=20, cooldown="40%"), r"warmup=50% and hold=20 and cooldown=40%: 50 \+ 20 \+ 40"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Schedule) else value[:40],
)  # fmt: skip
def test_refuses_what_does_not_fit_the_run(schedule, message):
    with pytest.raises(BadValue, match=f"^{message}"):
        schedule.factor(0, Horizon(100, 10))


@pytest.mark.parametrize("total", range(1501, 1521))
def test_points_in_percent_may_end_where_the_cooldown_begins_for_every_length_of_run(total):
    schedule = Piecewise(points=[["10%", 0.5], ["90%", 0.1]], warmup="10%", cooldown="10%")
    factors = schedule.factor(np.arange(total + 1), Horizon(total, 100))
    decay = factors[round(total * 0.1) + 1 :]
    assert np.all(np.diff(decay) < 0)
    assert factors[total - round(total * 0.1)] == pytest.approx(0.1, abs=0.001)


def test_a_formula_is_at_least_0_at_every_step():
    schedule = Table(expression="0.5 + sin(2000*pi*p)")  # at every thousandth of the run it is 0.5
    with pytest.raises(BadValue, match=r"^expression=.*: must be at least 0 at every step of the run"):
        schedule.factor(range(7000), Horizon(7000, 100))


def test_either_points_or_an_expression():
    with pytest.raises(BadValue, match=r"^expression=p: must be null where points or a csv are given"):
        Table(points=[[0, 1]], expression="p")


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("p,factor\n0,1\n0.5,0.25\n", [[0, 1], [0.5, 0.25]]),
        ("\ufeffstep,lr,loss\n0,0.1,3\n50,0.2,2\n100,0,1\n", [[0, 0.5], [0.5, 1], [1, 0]]),
        ("Epoch, Rate\n1,4\n4,1\n", [[0.25, 1], [1, 0.25]]),
        ("progress,learning_rate\n0.0,3e-4\n1.0,0.0\n", [[0, 1], [1, 0]]),
        ("step,factor\n0,1\n", [[0, 1]]),
    ],
)
def test_points_of_a_file(text, points, tmp_path):
    (tmp_path / "points.csv").write_text(text)
    table = Table(csv=str(tmp_path / "points.csv"))
    assert_allclose(table.points, points)
    assert table.factor(range(101), Horizon(100, 10))[0] == (points[0][1] if points[0][0] == 0 else 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must have a column p, progress, step, epoch and a column factor, rate"),
        ("p,factor\n", "must have a column p"),
        ("p,factor,factor\n0,1,1\n", "must have a column p"),
        ("x,y\n0,1\n", "must have a column p"),
        ("p,factor\n0,1\n0.5\n", "line 3 must have a number for factor, not None"),
        ("p,factor\n0,1\n0.5,nan\n", "line 3 must have a number for factor, not 'nan'"),
        ("p,factor\n0,1\nhalf,0\n", "line 3 must have a number for p, not 'half'"),
        ("p,factor\n0.5,1\n0.2,0\n", "its p must rise from line to line, from 0 on to 1"),
        ("p,factor\n0,1\n1.2,0\n", "its p must rise"),
        ("step,lr\n5,1\n5,0\n", "its step must rise from line to line, from 0 on"),
        ("step,lr\n-1,1\n5,0\n", "its step must rise"),
        ("step,lr\n0,-1\n5,0\n", "its lr must be at least 0"),
        ("step,lr\n0,0\n5,0\n", "its lr must be at least 0, and above 0 somewhere"),
        ("step,lr\n" + "".join(f"{i},1\n" for i in range(1001)), "must have at most 1000 lines, not 1001"),
        ("p,factor\n0,\xff\n".encode("latin-1"), "must be a CSV with a line for each point"),
        ("p,factor\n0,1\0\n", "line 2 must have a number|must be a CSV"),
    ],
    ids=range(16),
)
def test_refuses_files_without_points(text, message, tmp_path):
    path = tmp_path / "points.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadValue, match=f"points.csv: ({message})"):
        Table(csv=str(path))
