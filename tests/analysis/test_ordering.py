"""Whether runs come in the order of their bounds."""

import math
from pathlib import Path

import numpy as np
import pytest
from support.records import a_run

from lrdecay.analysis.claim import Claim
from lrdecay.analysis.judgement import judge
from lrdecay.errors import ConfigError
from lrdecay.records.record import Record
from lrdecay.schedules import Constant, Cosine, Horizon, InverseTime, Polynomial

SHAPES = {
    "linear": Polynomial(),
    "cosine": Cosine(),
    "inverse_time": InverseTime(rate=30, per="100%"),
    "early": Polynomial(power=4),
    "constant": Constant(),
}
"""In the order of their bounds."""
STEPS = np.unique(np.linspace(0, 999, 201).round().astype(int))


def claim(measure: str = "test/loss") -> Claim:
    return Claim(
        name="it", says="It.", source="x", supported="y", refuted="z", bound_orders=measure, own=Path("a"),
        folders=[Path("a")],
    )  # fmt: skip


def runs(losses: dict[str, float], seeds: int = 6, spread: float = 0.0, measure: str = "test/loss"):
    drawing = np.random.default_rng(2)
    made = []
    for name, loss in losses.items():
        for of in range(1, seeds + 1):
            run = a_run(name, of, status="diverged" if math.isinf(loss) else "completed")
            rates = 0.1 * SHAPES[name].factor(STEPS, Horizon(1000, 100))
            run.progress.rates = list(zip(STEPS.tolist(), rates.tolist(), strict=True))
            run.outcome.final = {measure: loss + spread * drawing.normal()} if math.isfinite(loss) else {}
            made.append(run)
    return made


def in_order(step: float = 0.1) -> dict[str, float]:
    return {name: 1 + step * place for place, name in enumerate(SHAPES)}


def test_the_order_of_the_bounds_is_found():
    verdict = judge(claim(), runs(in_order(), spread=0.01))
    assert verdict.word == "supported"
    (finding,) = verdict.findings
    assert (finding.group, finding.baseline) == ("the order of the bounds", "chance")
    assert finding.measure == "rank correlation"
    assert finding.found.mean == pytest.approx(1)
    (note,) = [note for note in verdict.notes if note.startswith("by the bound, the lowest first: ")]
    assert [part.split()[0] for part in note.split(": ")[1].split(", ")] == list(SHAPES)


def test_the_other_way_round_it_is_refuted():
    assert judge(claim(), runs(in_order(-0.1), spread=0.01)).word == "refuted"
    accuracies = {name: 1 - loss / 10 for name, loss in in_order().items()}
    assert judge(claim("test/acc"), runs(accuracies, spread=0.001, measure="test/acc")).word == "supported"


def test_without_an_order_nothing_is_found():
    wrong = 0
    for draw in range(100):
        noise = np.random.default_rng(draw)
        made = runs(dict.fromkeys(SHAPES, 1.0), seeds=8)
        for run in made:
            run.outcome.final["test/loss"] += noise.normal()
        wrong += judge(claim(), made).word != "inconclusive"
    assert wrong <= 11  # 5% in the mean; more than 11 of 100 come once in a hundred times


def diverge(made: list[Record], name: str, *seeds: int) -> None:
    """A run that diverged has only the first of the rates."""
    for run in made:
        if run.plan.choices["schedule"] == name and run.plan.config["seed"] in seeds:
            run.outcome.status, run.outcome.final = "diverged", {}
            run.progress.rates = run.progress.rates[:6]


@pytest.mark.parametrize(("name", "correlation"), [("constant", 1), ("linear", -0.0)])
def test_what_diverged_comes_last_under_the_bound_of_the_whole_schedule(name, correlation):
    made = runs(in_order())
    diverge(made, name, *range(1, 6))
    verdict = judge(claim(), made)
    assert verdict.findings[0].found.mean == pytest.approx((5 * correlation + 1) / 6)
    (note,) = [note for note in verdict.notes if note.startswith("by the bound")]
    assert note.startswith("by the bound, the lowest first: linear 0.06")


def test_equal_bounds_have_no_order():
    made = runs(in_order())
    for run in made:
        run.progress.rates = made[0].progress.rates
    with pytest.raises(ConfigError, match=r"^bound_orders=test/loss: must have groups with different bounds, not"):
        judge(claim(), made)


def test_a_group_that_failed_is_not_left_out():
    made = runs(in_order())
    for run in made:
        if run.plan.choices["schedule"] == "linear":
            run.outcome.status, run.outcome.final = "failed", {}
    with pytest.raises(ConfigError, match=r"^bound_orders=test/loss: linear must have completed runs"):
        judge(claim(), made)


def test_what_has_always_diverged_is_left_out_of_the_order():
    made = runs(in_order(), spread=0.01)
    diverge(made, "linear", *range(1, 7))
    verdict = judge(claim(), made)
    assert "linear: left out of the order, since every run diverged" in verdict.notes
    assert verdict.findings[0].found.mean == pytest.approx(1)
    diverge(made, "constant", *range(1, 7))
    with pytest.raises(ConfigError, match="must have 4 groups to order, not 3"):
        judge(claim(), made)


def test_it_says_how_likely_the_order_is_by_chance():
    (note,) = [note for note in judge(claim(), runs(in_order(), spread=0.01)).notes if "these 5 groups" in note]
    assert note == "this holds for these 5 groups only; for means over seeds ρ = 1.00 (p = 0.0083, permutation test)"


def test_what_has_no_order_is_refused():
    with pytest.raises(ConfigError, match="bound_orders=test/loss: must have 4 groups to order, not 3"):
        judge(claim(), runs(dict(list(in_order().items())[:3])))
    made = runs(in_order())
    for run in made:
        if run.plan.choices["schedule"] == "early":
            run.progress.rates = []
    with pytest.raises(ConfigError, match="bound_orders: early must have a run with rates"):
        judge(claim(), made)
