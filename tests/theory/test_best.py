"""The schedule that a law recommends."""

from dataclasses import replace

import numpy as np
import pytest

from lrdecay.schedules import Constant, Cosine, Horizon, Polynomial, Table
from lrdecay.theory.best import KNOTS, best_heights, middles
from lrdecay.theory.fitting import Fit, Trace
from lrdecay.theory.law import Law

LAW = Law(L0=3.0, A=30.0, alpha=0.5, B=0.33, C=0.045, beta=0.4, gamma=0.6, peak=0.001)
PLACES = np.linspace(0, 1, KNOTS + 1)


def table(heights, **placement) -> Table:
    return Table(points=np.stack([PLACES, heights], axis=1).tolist(), **placement)


def fit_of(law: Law, *resamples: Law) -> Fit:
    """One that is sure of the law but for what resamples say."""
    run = Trace("run", np.full(100, law.peak), np.array([100]), np.array([3.0]))
    return Fit(law, list(resamples or [law]), [run, run], runs=2, scatter=0.0, steps=100)


def best(fit: Fit, total_steps: int, **placement) -> np.ndarray:
    run = Horizon(total_steps, 100)
    return best_heights(
        fit, lambda heights: fit.law.peak * table(heights, **placement).factor(middles(total_steps), run), total_steps
    )


def loss(law: Law, schedule, total_steps: int) -> float:
    every = law.peak * schedule.factor(np.arange(total_steps), Horizon(total_steps, 100))
    return float(law.losses(every, np.array([total_steps]))[0])


@pytest.mark.parametrize("total_steps", [300, 20_000])
def test_no_other_shape_is_better(total_steps):
    heights = best(fit_of(LAW), total_steps, warmup="2%")
    assert heights[0] == pytest.approx(1)
    assert (np.diff(heights) <= 0).all()
    found = loss(LAW, table(heights, warmup="2%"), total_steps)
    known = [Cosine, Polynomial, *(lambda p=p, **more: Polynomial(power=p, **more) for p in (0.5, 2))]
    cooldowns = [lambda c=c, **more: Constant(cooldown=f"{c}%", **more) for c in (10, 20, 30, 40, 60)]
    for make in (*known, *cooldowns):
        assert found < loss(LAW, make(warmup="2%"), total_steps) + 1e-4
    drawing = np.random.default_rng(3)
    for _ in range(200):  # around it, and anywhere
        other = np.sort(np.clip(heights + drawing.normal(0, 0.1, KNOTS + 1), 0, 1))[::-1]
        anywhere = np.sort(drawing.random(KNOTS + 1) ** drawing.uniform(0.2, 5))[::-1]
        for shape in (other, anywhere):
            assert found < loss(LAW, table([1, *shape[1:]], warmup="2%"), total_steps) + 1e-4


def test_without_a_gain_from_decay_there_is_none():
    assert best(fit_of(replace(LAW, B=1e-6)), 5000) == pytest.approx(np.ones(KNOTS + 1), abs=1e-3)


def test_where_the_fit_is_not_sure_of_a_gain_less_is_left_to_it():
    """By another law that fits as well, low rates late in the run gain little: so less of the run is spent on them."""
    doubtful = fit_of(LAW, replace(LAW, gamma=0.05))
    sure, cautious = best(fit_of(LAW), 3000), best(doubtful, 3000)
    run = Horizon(3000, 100)
    ends = [doubtful.final(LAW.peak * table(heights).factor(np.arange(3000), run))[2] for heights in (sure, cautious)]
    assert ends[1] < ends[0] - 1e-4


def test_the_middles_of_a_run():
    assert middles(7).tolist() == list(range(7))
    assert len(middles(10**6)) == 600
    assert np.unique(np.diff(middles(6000))).tolist() == [10]
