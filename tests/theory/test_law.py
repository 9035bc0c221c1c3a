"""The law as it is written, planted truth, and real language models."""

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from lrdecay import Constant, Cosine, Horizon, Piecewise, Polynomial, Step
from lrdecay.errors import ConfigError
from lrdecay.theory.fitting import Trace, fit
from lrdecay.theory.law import PIECES, Law

TRUE = Law(L0=2.9, A=30.0, alpha=0.5, B=0.35, C=0.03, beta=0.6, gamma=0.6, peak=0.001)
SHAPES = {"constant": Constant(), "cosine": Cosine(), "linear": Polynomial(), "step": Step(gamma=0.3, every="40%")}
KNEE = Polynomial(hold="60%")


def rates(shape, steps: int) -> np.ndarray:
    return 0.001 * shape.over(Horizon(steps, 100))(np.arange(steps))


def trace(name: str, shape, steps: int, noise=0.0, rng=None) -> Trace:
    every = rates(shape, steps)
    at = np.arange(100, steps + 1, 100)
    losses = TRUE.losses(every, at)
    return Trace(name, every, at, losses * np.exp(noise * (rng or np.random.default_rng(0)).standard_normal(len(at))))


def planted(noise=1e-3, seed=0) -> list[Trace]:
    rng = np.random.default_rng(seed)
    return [trace(f"{name} {n}", shape, n, noise, rng) for name, shape in SHAPES.items() for n in (4000, 8000)]


def as_written(law: Law, every: np.ndarray, t: int) -> float:
    """arXiv 2503.12811, drop by drop."""
    eta = every / law.peak
    peak = int(np.argmax(eta))
    gained = sum(
        (eta[k - 1] - eta[k]) * (1 - (1 + law.C * eta[k] ** -law.gamma * eta[k:t].sum()) ** -law.beta)
        for k in range(peak + 1, t)
        if eta[k] != eta[k - 1]
    )
    return law.L0 + law.A * eta[:t].sum() ** -law.alpha - law.B * gained


SLOW = [Step(gamma=0.991, every=20), Cosine(warmup=10, final=0.5), Polynomial(), Polynomial(warmup=30, final=0.3)]


@pytest.mark.parametrize("shape", SLOW, ids=str)
def test_is_the_law_as_it_is_written(shape):
    every = rates(shape, 120)
    found = TRUE.losses(every, np.array([60, 120]))
    assert found == pytest.approx([as_written(TRUE, every, t) for t in (60, 120)], rel=1e-12)


@pytest.mark.parametrize("gamma", [0.5, 0.1])
def test_a_jump_is_a_fast_fall(gamma):
    """As the law is written it is not: all of the jump counts at the rate that it ends at."""
    jump = rates(Piecewise(points=[["50%", gamma]], curve="constant"), 4000)
    fall = rates(Piecewise(points=[[1990, 1], [2010, gamma]]), 4000)
    at = np.array([3000, 4000])
    assert TRUE.losses(jump, at) == pytest.approx(TRUE.losses(fall, at), abs=2e-3)
    if gamma == 0.1:
        assert abs(as_written(TRUE, jump, 4000) - as_written(TRUE, fall, 4000)) > 5e-3


@pytest.mark.parametrize("shape", [Cosine(), KNEE, Polynomial(warmup="5%")], ids=str)
def test_many_small_drops_may_be_taken_together(shape):
    every = rates(shape, 3000)
    assert np.count_nonzero(np.diff(every)) > 5 * PIECES
    at = np.array([1000, 2500, 3000])
    assert TRUE.losses(every, at) == pytest.approx([as_written(TRUE, every, t) for t in at], abs=3e-4)


def test_predicts_what_was_planted():
    fitted = fit(planted())
    assert fitted.scatter < 3e-3
    for shape, steps in ((KNEE, 8000), (Cosine(), 16_000), (Step(gamma=0.1, every="80%"), 24_000)):
        every = rates(shape, steps)
        truth = TRUE.losses(every, np.array([steps]))[0]
        loss, low, high = fitted.final(every)
        assert loss == pytest.approx(truth, abs=0.01)
        assert low < truth < high
    low, high = fitted.intervals()["L0"][1:]
    assert low < fitted.law.L0 < high


def test_runs_that_are_too_short_are_left_out():
    long, short = planted(), [trace(f"short {n}", Step(gamma=0.5, every="30%"), 500 + 10 * n) for n in range(5)]
    fitted = fit([*long, *short])
    assert (fitted.runs, len(fitted.traces), fitted.short) == (8, 8, 5)
    assert fitted.intervals() == fit(long).intervals()
    constant = [trace(str(n), Constant(), n) for n in (4000, 8000)]
    with pytest.raises(ConfigError, match="must have a run whose rate decays"):
        fit([*constant, *short])


def test_losses_may_be_tiny():
    tiny = [replace(one, losses=1e-10 * one.losses) for one in planted()]
    assert np.isfinite(fit(tiny).final(tiny[0].rates)).all()


def test_says_where_it_has_not_been():
    fitted = fit(planted())
    assert fitted.warnings(rates(KNEE, 8000)) == []
    assert fitted.warnings(rates(KNEE, 40_000)) == ["it is 5.0 times as long as the longest run of the fit"]
    (warning,) = fitted.warnings(2 * rates(KNEE, 8000))
    assert warning == "its peak rate is 2 times that of the fit, and the law knows one peak rate only"


def test_runs_of_the_same_rates_count_as_one_with_their_mean():
    several = planted() + planted(seed=1)
    fitted = fit(several)
    assert (fitted.runs, len(fitted.traces)) == (16, 8)
    mean = np.mean([several[0].losses, several[8].losses], axis=0)
    np.testing.assert_array_equal(fitted.traces[0].losses, mean)


def with_losses(losses) -> list[Trace]:
    traces = planted()
    traces[0].losses[-1] = losses
    return traces


@pytest.mark.parametrize(
    ("traces", "message"),
    [
        (planted()[:1], "must have runs of two schedules or lengths for its seven parameters, not 1"),
        ([planted()[1], planted(seed=1)[1]], "must have runs of two schedules or lengths"),
        (planted()[:2], "must have a run whose rate decays; constant rates do not show what decay gains"),
        (
            [*planted(), Trace("other", 2 * rates(Cosine(), 4000), np.arange(1, 9) * 500, np.full(8, 3.0))],
            "must be fitted to runs of one peak rate, not 0.001, 0.002",
        ),
        (
            [Trace(t.name, t.rates, t.steps[-3:], t.losses[-3:]) for t in planted()],
            "two runs with 8 losses after the first 10%",
        ),
        ([*planted(), Trace("still", np.zeros(800), np.arange(1, 9) * 100, np.full(8, 3.0))], "whose rate is above 0"),
        (with_losses(math.nan), "constant 4000: losses must be finite and above 0"),
        (with_losses(-1.0), "constant 4000: losses must be finite and above 0"),
    ],
)
def test_what_does_not_determine_it_is_refused(traces, message):
    with pytest.raises(ConfigError) as refused:
        fit(traces)
    assert message in str(refused.value)


@pytest.fixture(scope="module")
def language_models(llm_curves: Path) -> list[tuple[dict[str, str], Trace]]:
    """Trainings of a model of 124 million parameters, of fabian-sp/lr-scheduling, which is beside arXiv 2501.18965."""
    measured: dict[str, list[tuple[int, float]]] = {}
    for row in csv.DictReader((llm_curves / "curves.csv").read_text().splitlines()):
        measured.setdefault(row["run"], []).append((int(row["step"]), float(row["val_loss"])))
    found = []
    for row in csv.DictReader((llm_curves / "runs.csv").read_text().splitlines()):
        if row["end_lr"] and not row["run"].startswith("sl_"):
            steps, losses = map(np.array, zip(*measured[row["run"]], strict=True))
            found.append((row, Trace(row["run"], rates_of(row), steps, losses)))
    return found


def rates_of(row: dict[str, str]) -> np.ndarray:
    """As they were logged: linear warm-up, then cosine, or a cool-down at the end."""
    total, warmup, peak = int(row["total_steps"]), int(row["warmup_steps"]), float(row["peak_lr"])
    steps = np.arange(total)
    if row["schedule"] == "cos":
        end = peak / 10 if float(row["end_lr"]) < 0 else float(row["end_lr"])
        shape = (1 + np.cos(np.pi * np.clip((steps - warmup) / (total - warmup), 0, 1))) / 2
        return np.where(steps < warmup, peak * (steps + 1) / warmup, end + (peak - end) * shape)
    down = int(float(row["cooldown"]) * total)
    q = np.clip((steps - (total - down)) / max(down, 1), 0, 1)
    return peak * np.minimum((steps + 1) / warmup, 1) * (1 - (np.sqrt(q) if row["cooldown_curve"] == "sqrt" else q))


@pytest.mark.parametrize(("peak", "error"), [("0.001", 0.005), ("0.0005", 0.008), ("0.0001", 0.005)])
def test_twice_as_long_runs_of_language_models_are_predicted(language_models, peak, error):
    """Fitted to runs of at most 25,000 steps; what is predicted are those of 50,000."""
    of_peak = [(int(row["total_steps"]), one) for row, one in language_models if row["peak_lr"] == peak]
    fitted = fit([one for total, one in of_peak if total <= 25_000])
    longer = [one for total, one in of_peak if total == 50_000]
    found = np.array([fitted.final(one.rates[: one.steps[-1]]) for one in longer])
    truth = np.array([one.losses[-1] for one in longer])
    assert len(longer) == 10
    assert np.abs(found[:, 0] - truth).mean() < error
    assert spearmanr(found[:, 0], truth).statistic >= 0.95
    assert np.mean((found[:, 1] < truth) & (truth < found[:, 2])) >= 0.9
