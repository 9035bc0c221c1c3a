"""Schedules from gradient norms."""

import numpy as np
import pytest
from scipy.ndimage import median_filter

from lrdecay.errors import BadValue
from lrdecay.theory.bound import bound
from lrdecay.theory.refinement import refined, smoothed

STEPS = np.arange(400)
NORMS = {
    "rising": np.linspace(1, 3, 400),
    "falling": np.linspace(3, 1, 400),
    "large at first": np.where(STEPS < 20, 5.0, 1.0),
    "large in the middle": 1 + np.exp(-(((STEPS - 200) / 40) ** 2)),
}


def of_the_paper(norms: np.ndarray, width: int) -> np.ndarray:
    """Algorithm 1, step by step; its η_t is at the end of step t, ours is at the beginning."""
    padded = [norms[0]] * width + list(norms) + [norms[-2 - i] for i in range(width)]
    smooth = median_filter(padded, size=2 * width + 1)[width:-width] if width else norms
    weights = smooth**-2.0
    rates = [weights[t] * (weights[t] + sum(weights[t + 1 :])) for t in range(len(norms))]
    return np.array(rates) / max(rates)


def test_equal_norms_give_linear_decay():
    assert refined(np.full(50, 7.0)) == pytest.approx(np.linspace(1, 0, 51))


@pytest.mark.parametrize("width", [0, 3, 10])
def test_the_algorithm_as_it_is_printed(width):
    norms = np.exp(np.random.default_rng(width).normal(0, 0.5, 100))
    assert refined(norms, 2 * width / 100)[:-1] == pytest.approx(of_the_paper(norms, width))


@pytest.mark.parametrize("norms", NORMS.values(), ids=NORMS)
def test_it_lowers_the_bound(norms):
    refined_bound = bound(refined(norms, 0)[:-1], norms).best
    linear, constant = bound(1 - STEPS / 400, norms).best, bound(np.ones(400), norms).best
    assert refined_bound < 0.97 * min(linear, constant)


def test_large_norms_at_first_give_a_warmup():
    heights = refined(NORMS["large at first"], 0.02)
    assert heights[0] < 0.1
    assert heights.argmax() in range(15, 30)


def test_single_large_norms_are_smoothed_away():
    norms = np.ones(100)
    norms[[20, 50, 51, 99]] = 100
    assert (smoothed(norms, 0.1) == 1).all()
    assert (smoothed(norms, 0) == norms).all()


@pytest.mark.parametrize(
    ("norms", "smoothing", "message"),
    [
        ([1, 2], 0.1, "norms=.*at least 3"),
        ([[1, 2, 3]], 0.1, "norms=.*one for each part"),
        ([1, 0, 1], 0.1, r"norms=0\.0: must be finite and above 0"),
        ([1, np.nan, 1], 0.1, "norms=nan: must be finite"),
        ([1, 1, 1], 1.1, r"smoothing=1\.1: must be a fraction of the run"),
        ([1, 1, 1], np.nan, "smoothing=nan"),
    ],
)
def test_refuses(norms, smoothing, message):
    with pytest.raises(BadValue, match=message):
        refined(norms, smoothing)
