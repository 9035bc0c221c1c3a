"""The bound against the theorem as it is written, the authors' own values, and what is known of its optimum."""

import itertools
import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.programs import ROOT

from lrdecay import Constant, Cosine, Horizon, Polynomial
from lrdecay.errors import BadValue
from lrdecay.theory.bound import bound, bounds_over_time

AUTHORS = ROOT.parent / "shared/reference/convex_bound.json"


def as_written(rates, norms, distance) -> float:
    """Theorem 1 of arXiv 2501.18965, sum by sum, in fractions that lose no digit."""
    rates, norms = ([Fraction(float(value)) for value in values] for values in (rates, norms))
    rest = list(itertools.accumulate(reversed(rates)))[::-1]
    noise = list(itertools.accumulate((r * g) ** 2 for r, g in zip(reversed(rates), reversed(norms), strict=True)))[
        ::-1
    ]
    of_the_last = sum(rates[k] / rest[k + 1] * noise[k] / rest[k] for k in range(len(rates) - 1))
    return float((Fraction(distance) ** 2 / rest[0] + noise[0] / rest[0] + of_the_last) / 2)


positive = st.floats(1e-3, 1e3)


@given(st.lists(st.tuples(positive, positive), min_size=1, max_size=30), positive, positive)
def test_is_the_theorem(steps, distance, base):
    factors, norms = map(list, zip(*steps, strict=True))
    found = bound(factors, np.array(norms), distance).at(base)
    assert found == pytest.approx(as_written([base * f for f in factors], norms, distance), rel=1e-10)


@pytest.mark.skipif(not AUTHORS.is_file(), reason="the values of the authors' package are not beside the project")
def test_is_that_of_the_authors():
    rows = json.loads(AUTHORS.read_text())["rows"]
    assert len(rows) == 45
    for row in rows:
        norms = np.arange(1, row["T"] + 1) ** row["grad_norm_exponent"]
        found = bound(row["factors"], norms, row["D"])
        assert found.at(0.5) == pytest.approx(as_written(np.divide(row["factors"], 2), norms, row["D"]), rel=1e-13)
        # They subtract sums, which costs eight digits where a long schedule comes near 0, as the fractions show.
        digits = 2e-8 if (row["schedule"], row["T"]) == ("cosine to 0", 400) else 1e-9
        assert found.at(0.5) == pytest.approx(sum(row["terms_at_base_0_5"]), rel=digits)
        assert found.best_base == pytest.approx(row["optimal_base"], rel=digits)
        assert found.best == pytest.approx(row["optimal_bound"], rel=digits)


def test_the_best_base_rate_is_where_it_is_lowest():
    found = bound(Cosine().over(Horizon(500, 50))(np.arange(500)))
    around = np.geomspace(0.5, 2, 101) * found.best_base
    values = [found.at(base) for base in around]
    assert np.argmin(values) == 50
    assert min(values) == pytest.approx(found.best)


def test_linear_decay_beats_a_constant_rate_by_what_is_known():
    """2·D·G/√T with linear decay, and by a logarithm more without (arXiv 2310.07831)."""
    steps = 10_000
    horizon = Horizon(steps, 100)
    linear, constant = (bound(schedule.over(horizon)(np.arange(steps))) for schedule in (Polynomial(), Constant()))
    assert linear.best == pytest.approx(2 / math.sqrt(steps), rel=0.01)
    assert constant.best == pytest.approx(math.sqrt((1 + math.log(steps)) / steps), rel=0.05)


def test_steps_that_stand_still_at_the_end_change_nothing():
    assert bound([1, 0.5, 0, 0]) == bound([1, 0.5])
    assert bound([0, 1, 0.5]).from_start == bound([1, 0.5]).from_start


def test_a_million_steps_keep_their_digits():
    """Rates T, T − 1, …, 1: of the last k the sum is k(k + 1)/2, and that of their squares k(k + 1)(2k + 1)/6."""
    steps = 1_000_000
    found = bound(np.arange(steps, 0, -1.0))
    assert found.from_start == pytest.approx(1 / (steps * (steps + 1)), rel=1e-11)
    left = np.arange(2, steps + 1, dtype=np.longdouble)
    exact = (2 * steps + 1) / 6 + float(np.sum(2 / (left - 1) * (2 * left + 1) / 3)) / 2
    assert found.from_noise == pytest.approx(exact, rel=1e-11)


def test_over_time_it_is_that_of_a_run_cut_off():
    factors = Cosine().over(Horizon(300, 10))(np.arange(300))
    counts, found = bounds_over_time(factors, distance=2.0)
    assert (counts[0], counts[-1]) == (1, 300)
    assert found[-1] == bound(factors, distance=2.0)
    assert found[10] == bound(factors[: counts[10]], distance=2.0)
    warming = np.concatenate([[0, 0], factors])
    assert bounds_over_time(warming)[0][0] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "factors=(0,): must be one for each step, at least one"),
        (([1, -1],), "factors=-1.0: must be finite and not below 0"),
        (([1, math.nan],), "factors=nan: must be finite"),
        (([0, 0],), "factors=0: must be above 0 at one step at least"),
        (([1], -1.0), "norms=-1.0: must be finite and above 0"),
        (([1], 1.0, 0), "distance=0: must be a number above 0"),
    ],
)
def test_refuses_what_has_no_bound(arguments, message):
    with pytest.raises(BadValue) as refused:
        bound(*arguments)
    assert str(refused.value).startswith(message)
