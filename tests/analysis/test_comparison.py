import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from support.records import a_run, at_rate, grid, groups_of

from lrdecay.analysis.baselines import find_baselines
from lrdecay.analysis.comparison import compare_groups
from lrdecay.analysis.groups import Group, matching
from lrdecay.errors import ConfigError
from lrdecay.reports.report import headline


class TestBaseline:
    def test_is_the_constant_rate(self):
        baselines, notes = find_baselines(groups_of(a_run("cosine"), a_run("constant"), a_run("step")))
        assert {label: g.label for label, g in baselines.items()} == dict.fromkeys(
            ["cosine", "constant", "step"], "constant"
        )
        assert notes == []

    def test_of_several_it_is_the_one_with_the_same_rate(self):
        baselines, _ = find_baselines(grid())
        assert baselines["cosine lr=0.3"].label == "constant lr=0.3"
        assert baselines["constant lr=0.3"].label == "constant lr=0.3"

    def test_of_several_it_is_the_one_that_fits_what_the_group_has(self):
        free = a_run("constant", warmup=5)
        free.plan.choices["optimizer"], free.plan.config["optimizer"]["kind"] = "schedule_free_sgd", "free"
        others = [a_run("constant", warmup=0), a_run("cosine")]
        for run in others:
            run.plan.config["optimizer"]["kind"] = "sgd"
        baselines, notes = find_baselines(groups_of(free, *others))
        assert baselines["cosine sgd"].label == "constant sgd warmup=0"
        assert notes == []

    def test_a_constant_rate_under_a_scale_is_none(self):
        scaled = a_run("constant", scaled=True)
        scaled.plan.choices["scale"] = "plateau"
        baselines, _ = find_baselines(groups_of(scaled, a_run("constant", scaled=False)))
        assert {g.label for g in baselines.values()} == {"scaled=False"}

    def test_a_constant_rate_with_a_cooldown_is_none(self):
        groups = groups_of(*[a_run("constant", cooldown=length) for length in ("0%", "50%", 0.1)], a_run("cosine"))
        baselines, _ = find_baselines(groups)
        assert {g.label for g in baselines.values()} == {"constant cooldown=0%"}

    def test_of_constant_rates_alone_it_is_the_first_and_said(self):
        baselines, (note,) = find_baselines(groups_of(at_rate("constant", 0.1), at_rate("constant", 0.3)))
        assert baselines["lr=0.3"].label == "lr=0.1"
        assert note.startswith("all runs have a constant rate: the baseline is lr=0.1")

    @pytest.mark.parametrize("name", ["", "lr"])
    def test_words_that_name_nothing_or_everything_are_refused(self, name):
        with pytest.raises(ConfigError, match="must be one of"):
            find_baselines(grid(), name)

    def test_a_rate_without_one_is_said(self):
        groups = groups_of(*[at_rate("constant", lr) for lr in (0.1, 0.3)], at_rate("cosine", 0.5))
        baselines, notes = find_baselines(groups)
        assert "cosine lr=0.5" not in baselines
        assert notes == ["without a baseline, no unique baseline among constant lr=0.1, constant lr=0.3: cosine lr=0.5"]

    @pytest.mark.parametrize("name", ["cosine", "cosine  ", "step γ=0.5", "step gamma=0.5", "gamma=0.5"])
    def test_can_be_named(self, name):
        groups = groups_of(a_run("constant"), a_run("cosine"), a_run(gamma=0.1), a_run(gamma=0.5))
        baselines, _ = find_baselines(groups, name)
        assert baselines["constant"].label == ("cosine" if "cosine" in name else "step γ=0.5")

    def test_one_that_is_not_there_is_refused_with_those_that_are(self):
        with pytest.raises(
            ConfigError,
            match=r"^--baseline=linear: must be one of constant, cosine, or words that occur in some of them$",
        ):
            find_baselines(groups_of(a_run("constant"), a_run("cosine")), "linear")

    def test_without_a_constant_rate_it_is_the_first_and_said(self):
        baselines, (note,) = find_baselines(groups_of(a_run(gamma=0.1), a_run(gamma=0.5)))
        assert baselines["γ=0.5"].label == "γ=0.1"
        assert note.startswith("no run has a constant rate: the baseline is γ=0.1")

    def test_words_of_a_label(self):
        groups = grid()
        assert len(matching(groups, "cosine")) == 2
        assert [g.label for g in matching(groups, "lr=0.3 cosine")] == ["cosine lr=0.3"]
        assert [g.label for g in matching(groups, "cosine lr=3e-1")] == ["cosine lr=0.3"]


def many(effects: dict[str, float], seeds=range(5), noise=0.002, rng=None) -> list[Group]:
    """Groups whose accuracies differ by known effects."""
    rng = rng or np.random.default_rng(0)
    of_seed = rng.normal(0, 0.01, 100)
    return groups_of(
        *[
            a_run(schedule, seed, 0.9 + effect + of_seed[seed] + rng.normal(0, noise))
            for schedule, effect in effects.items()
            for seed in seeds
        ]
    )


class TestComparison:
    def test_finds_the_planted_differences_and_no_others(self):
        comparison = compare_groups("digits", many({"constant": 0, "step": 0.02, "cosine": 0, "linear": -0.02}))
        words = {g.label: comparison.row(g, "test/acc")["verdict"] for g in comparison.groups}
        assert words == {"constant": "", "step": "better", "cosine": "no difference shown", "linear": "worse"}
        step = comparison.row(comparison.groups[1], "test/acc")
        assert step["difference low"] < 0.02 < step["difference high"]

    def test_intervals_cover_and_verdicts_are_right_over_hundreds_of_draws(self):
        rng = np.random.default_rng(1)
        rows: dict[str, list] = {"step": [], "cosine": []}
        for _ in range(400):
            comparison = compare_groups("digits", many({"constant": 0, "step": 0.01, "cosine": 0}, rng=rng))
            for g in comparison.tested:
                rows[g.label].append(comparison.row(g, "test/acc"))
        for label, effect in (("step", 0.01), ("cosine", 0)):
            covered = sum(row["difference low"] <= effect <= row["difference high"] for row in rows[label])
            low, high = stats.binom.interval(0.9999, 400, 0.95)
            assert low <= covered <= high
        words = {label: [row["verdict"] for row in several] for label, several in rows.items()}
        assert words["step"].count("worse") == 0
        assert words["step"].count("better") > 0.9 * 400
        # With Holm and one true difference, 95% of them are expected.
        assert words["cosine"].count("no difference shown") > 0.93 * 400

    def test_unequal_seeds_are_paired_where_they_can_be(self):
        rng = np.random.default_rng(3)
        of_seed = rng.normal(0, 0.05, 20)
        seeds = {"constant": range(8), "step": range(3, 11), "cosine": range(12, 20)}
        effects = {"constant": 0, "step": 0.02, "cosine": 0.02}
        comparison = compare_groups("digits", groups_of(*[
            a_run(schedule, seed, 0.8 + effects[schedule] + of_seed[seed] + rng.normal(0, 0.001))
            for schedule in seeds for seed in seeds[schedule]
        ]))  # fmt: skip
        rows = [comparison.row(g, "test/acc") for g in comparison.tested]
        assert [(row["pairs"], row["paired"]) for row in rows] == [(5, True), (8, False)]
        assert [row["verdict"] for row in rows] == ["better", "no difference shown"]
        assert all(row["difference low"] < 0.02 < row["difference high"] for row in rows)
        assert "step: 5 of its 8 seeds are in common with constant, and are compared" in comparison.notes
        assert any(note.startswith("cosine: compared with constant without pairs") for note in comparison.notes)

    def test_a_lower_loss_is_better(self):
        runs = [a_run(schedule, seed) for schedule in ("constant", "cosine") for seed in range(5)]
        for run in runs:
            run.outcome.final["val/loss"] = (
                0.5 + 0.01 * run.plan.config["seed"] ** 2 - 0.1 * (run.plan.choices["schedule"] == "cosine")
            )
            run.outcome.final["val/loss"] += 0.001 * (run.plan.config["seed"] % 2)
        runs[-1].outcome.final["val/loss"] += 0.002
        comparison = compare_groups("digits", groups_of(*runs))
        row = comparison.row(comparison.groups[1], "val/loss")
        assert (row["verdict"], row["difference"] < 0) == ("better", True)
        assert (row["best"], row["worst"]) == (min(finals := comparison.groups[1].final("val/loss")), max(finals))

    def test_one_seed_gets_no_interval_and_no_verdict(self):
        comparison = compare_groups("digits", groups_of(a_run("constant"), a_run("cosine", accuracy=0.99)))
        row = comparison.row(comparison.groups[1], "test/acc")
        assert row["verdict"] == "not tested"
        assert math.isnan(row["low"])
        assert math.isnan(row["difference low"])
        assert row["difference"] == pytest.approx(0.09)
        assert any(note.startswith("one seed: there are no intervals") for note in comparison.notes)

    def test_a_seed_that_was_run_twice_counts_once(self):
        comparison = compare_groups("digits", groups_of(a_run(accuracy=0.8), a_run(accuracy=0.9)))
        row = comparison.row(comparison.groups[0], "test/acc")
        assert (row["n"], row["mean"]) == (1, pytest.approx(0.85))
        assert math.isnan(row["low"])
        assert "step: several runs of seed 1; each seed counts once, as the mean of its runs" in comparison.notes

    def test_diverged_runs_are_counted(self):
        went_on = a_run(seed=2)
        went_on.progress.divergence = {"step": 3}
        runs = [a_run(seed=1), went_on, a_run(seed=3, status="diverged"), a_run(seed=4, status="failed")]
        comparison = compare_groups("digits", groups_of(*runs))
        row = comparison.row(comparison.groups[0], "diverged")
        assert (row["mean"], row["n"]) == (pytest.approx(2 / 3), 3)
        assert "step: 1 of 4 diverged, and have no part in its numbers" in comparison.notes
        assert "step: 1 of 4 had a loss that was not finite, and continued" in comparison.notes

    @pytest.mark.parametrize(
        ("diverges", "accuracy", "verdict"),
        [
            ("cosine", 0.99, "not tested"),
            ("cosine", 0.8, "worse"),
            ("constant", 0.99, "better"),
            ("constant", 0.8, "not tested"),
        ],
    )
    def test_runs_that_are_left_after_others_diverged_prove_nothing_good_of_their_group(
        self, diverges, accuracy, verdict
    ):
        runs = [
            a_run(schedule, seed, of + 0.001 * seed**2 * (schedule == "cosine"), status=status)
            for schedule, of in (("constant", 0.9), ("cosine", accuracy))
            for seed in range(1, 7)
            for status in ["diverged" if schedule == diverges and seed == 6 else "completed"]
        ]
        comparison = compare_groups("digits", groups_of(*runs))
        assert comparison.row(comparison.groups[1], "test/acc")["verdict"] == verdict
        assert ("nothing tested, since runs diverged, in" in headline(comparison)) == (verdict == "not tested")

    @pytest.mark.parametrize(("accuracy", "verdict"), [(0.99, "not tested"), (0.8, "worse")])
    def test_nor_do_those_that_are_left_where_others_have_no_value(self, accuracy, verdict):
        runs = [
            a_run(schedule, seed, of + 0.001 * seed**2 * (schedule == "cosine"))
            for schedule, of in (("constant", 0.9), ("cosine", accuracy))
            for seed in range(1, 7)
        ]
        runs[-1].outcome.final["test/acc"] = math.nan
        comparison = compare_groups("digits", groups_of(*runs))
        assert comparison.row(comparison.groups[1], "test/acc")["verdict"] == verdict
        assert "cosine: 1 of 6 seeds have no test/acc" in comparison.notes
        assert ("nothing tested, since runs have no value, in" in headline(comparison)) == (verdict == "not tested")

    def test_all_failed(self):
        runs = [a_run(schedule, seed, status="failed") for schedule in ("constant", "cosine") for seed in (1, 2)]
        comparison = compare_groups("digits", groups_of(*runs))
        assert comparison.notes[:2] == ["constant: no run completed", "cosine: no run completed"]
        assert comparison.row(comparison.groups[1], "test/acc")["verdict"] == "not tested"

    def test_runs_of_different_length_and_code_are_said(self):
        short, long = a_run("constant"), a_run("cosine", epochs=5)
        short.plan.total_steps, long.plan.total_steps, long.plan.code = 30, 50, "other"
        notes = compare_groups("digits", groups_of(short, long)).notes
        assert "runs of different lengths: 30, 50 steps" in notes
        assert "the runs are of different versions of the code" in notes

    def test_curves_of_nothing_but_nan(self):
        broken = a_run("cosine", seed=1)
        broken.progress.epochs = [dict.fromkeys(row) | {"epoch": row["epoch"]} for row in broken.progress.epochs]
        broken.outcome.final = dict.fromkeys(broken.outcome.final)
        comparison = compare_groups("digits", groups_of(a_run("constant"), broken))
        rows = comparison.table.loc["cosine"].drop("diverged")
        assert rows["n"].sum() == 0
        assert rows["mean"].isna().all()


def test_the_tests_of_one_measure_are_corrected_together():
    comparison = compare_groups("digits", many({"constant": 0, "step": 0.004, "cosine": 0.003, "linear": 0.002}))
    tests = comparison.table[comparison.table["measure"] == "test/acc"].iloc[1:]
    assert isinstance(tests, pd.DataFrame)
    lowest = tests["p"].idxmin()
    assert tests.loc[lowest, "p Holm"] == pytest.approx(min(1, 3 * tests.loc[lowest, "p"]))
