"""Verdicts on claims, from made-up records whose truth is known, and from real runs."""

import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from support.programs import ROOT, run_apart
from support.records import a_run, groups_of

from lrdecay.analysis.claim import Claim, Part
from lrdecay.analysis.judgement import judge
from lrdecay.analysis.question import Question
from lrdecay.cli.claims import check_plan, planned_seeds
from lrdecay.config.claims import Claims
from lrdecay.errors import ConfigError
from lrdecay.records.record import Record
from lrdecay.reports.findings import markdown, mixed, sentence

CONF = ROOT / "conf"


def claim(*parts: Part, **more) -> Claim:
    own = {"name": "c", "says": "Something.", "source": "somebody", "supported": "so", "refuted": "not so"}
    own |= {"baseline": "constant"} if parts else {}
    return Claim(own=Path("outputs"), folders=[Path("outputs")], parts=list(parts), **own | more)


def runs(effects: dict[str, float], seeds=6, noise=0.0005, **settings) -> list[Record]:
    of_seed = np.random.default_rng(0).normal(0, 0.01, seeds)
    rng = np.random.default_rng(zlib.crc32(repr((effects, settings)).encode()))
    return [
        a_run(schedule, seed, 0.9 + effect + of_seed[seed] + rng.normal(0, noise), **settings)
        for schedule, effect in effects.items()
        for seed in range(seeds)
    ]


@pytest.mark.parametrize(
    ("expect", "margin", "effect", "word"),
    [
        ("better", 0, 0.01, "supported"),
        ("better", 0, -0.01, "refuted"),
        ("better", 0, 0, "inconclusive"),
        ("better", 0.005, 0.002, "supported"),
        ("better", 0.005, 0, "refuted"),
        ("better", 0.005, -0.01, "refuted"),
        ("better", 0.0001, 0, "inconclusive"),
        ("worse", 0, -0.01, "supported"),
        ("worse", 0, 0.01, "refuted"),
        ("worse", 0.005, -0.002, "supported"),
        ("worse", 0.005, 0, "refuted"),
        ("not worse", 0.005, 0, "supported"),
        ("not worse", 0.005, 0.02, "supported"),
        ("not worse", 0.005, -0.005, "inconclusive"),
        ("not worse", 0.005, -0.02, "refuted"),
        ("same", 0.005, 0, "supported"),
        ("same", 0.005, 0.02, "refuted"),
        ("same", 0.005, -0.02, "refuted"),
        ("same", 0.0001, 0, "inconclusive"),
    ],
)
def test_the_verdict_is_the_planted_truth(expect, margin, effect, word):
    part = Part(["cosine"], ["test/acc"], expect, margin)
    assert judge(claim(part), runs({"constant": 0, "cosine": effect})).word == word


@pytest.mark.parametrize(("expect", "sign"), [("better", 1), ("worse", -1)])
@pytest.mark.parametrize(("effect", "wrong"), [(0.0, "supported"), (0.005, "refuted")])
def test_a_margin_misleads_no_more_often_than_one_side_of_the_interval(expect, sign, effect, wrong):
    """Where there is no effect, and where there is the smallest that matters: verdicts over 1,000 draws of 8 seeds."""
    rng = np.random.default_rng(0)
    sides = groups_of(a_run("cosine", 0), a_run("constant", 0))
    words = []
    for gains in rng.normal(sign * effect, 0.002, (1000, 8)):
        values = dict(enumerate(0.9 + gains)), dict.fromkeys(range(8), 0.9)
        words.append(Question(*sides, "test/acc", *values, expect, 0.005).answer(0.95, lambda n: 0.05).word)
    assert words.count(wrong) <= stats.binom.ppf(0.9999, 1000, 0.025)
    assert words.count("refuted" if wrong == "supported" else "supported") > 950


def test_one_refuted_part_refutes_and_one_open_part_leaves_it_open():
    part = Part(["cosine", "step"], ["test/acc"], "better")
    assert judge(claim(part), runs({"constant": 0, "cosine": 0, "step": -0.01})).word == "refuted"
    assert judge(claim(part), runs({"constant": 0, "cosine": 0.01, "step": 0})).word == "inconclusive"
    assert judge(claim(part), runs({"constant": 0, "cosine": 0.01, "step": 0.01})).word == "supported"


def test_what_holds_for_one_group_and_not_for_another_is_mixed():
    part = Part(["cosine", "step"], ["test/acc"], "better")
    verdict = judge(claim(part), runs({"constant": 0, "cosine": 0.01, "step": -0.01}))
    assert verdict.word == "mixed"
    assert mixed(verdict) == "holds for cosine in test/acc; does not hold for step in test/acc"


@pytest.mark.parametrize(
    ("effect", "loss", "word"),
    [(-0.01, 0.0, "supported"), (0.01, 0.01, "supported"), (0.01, -0.01, "refuted"), (0.01, 0.0, "inconclusive")],
)
def test_one_of_several_alternatives_is_enough(effect, loss, word):
    records = runs({"constant": 0, "cosine": effect})
    for run in records:
        run.outcome.final["val/loss"] = (
            0.5 + loss * (run.plan.choices["schedule"] == "cosine") + (run.outcome.final["test/acc"] % 0.0007)
        )
    part = Part(["cosine"], ["test/acc", "val/loss"], "worse", any=True)
    verdict = judge(claim(part), records)
    assert verdict.word == word
    assert verdict.holds == [("cosine in test/acc or val/loss", word)]


def test_says_how_many_seeds_would_decide_what_is_open():
    (finding,) = judge(
        claim(Part(["cosine"], ["test/acc"], "better")), runs({"constant": 0, "cosine": 0.0003})
    ).findings
    assert finding.word == "inconclusive"
    assert finding.seeds > finding.found.n
    assert f"deciding it would take {finding.seeds} seeds" in sentence(finding)


def test_a_lower_loss_is_a_gain():
    records = runs({"constant": 0, "cosine": 0})
    for run in records:
        run.outcome.final["val/loss"] = (
            0.5 - run.outcome.final["test/acc"] / 10 - 0.1 * (run.plan.choices["schedule"] == "cosine")
        )
    (finding,) = judge(claim(Part(["cosine"], ["val/loss"], "better")), records).findings
    assert finding.word == "supported"
    assert 0 < finding.found.low < 0.1 < finding.found.high


def test_the_more_is_compared_the_wider_are_the_intervals():
    records = runs({"constant": 0, "cosine": 0, "step": 0})
    one = judge(claim(Part(["cosine"], ["test/acc"], "better")), records)
    two = judge(claim(Part(["cosine", "step"], ["test/acc"], "better")), records)
    assert (one.level, two.level) == (0.95, 0.975)
    assert two.findings[0].found.high > one.findings[0].found.high


def test_nothing_is_concluded_from_one_seed_or_from_failures():
    part = Part(["cosine"], ["test/acc"], "better")
    assert judge(claim(part), runs({"constant": 0, "cosine": 0.1}, seeds=1)).word == "inconclusive"
    verdict = judge(claim(part), runs({"constant": 0}) + runs({"cosine": 0.1}, status="failed"))
    assert verdict.word == "inconclusive"
    assert verdict.notes == ["cosine: 0 of 6 (6 failed) completed"]


@pytest.mark.parametrize(
    ("gain", "expect", "margin", "word"),
    [
        (0, "better", 0, "inconclusive"),
        (0, "worse", 0, "inconclusive"),
        (0, "better", 0.01, "refuted"),
        (0, "worse", 0.01, "refuted"),
        (0, "same", 0.002, "supported"),
        (0, "not worse", 0.002, "supported"),
        (0.005, "better", 0.01, "supported"),
        (0.005, "worse", 0.01, "refuted"),
        (-0.005, "better", 0.01, "refuted"),
        (0.01, "same", 0.01, "inconclusive"),
        (-0.01, "not worse", 0.01, "inconclusive"),
        (0.02, "same", 0.01, "refuted"),
    ],
)
def test_pairs_that_all_differ_alike_are_counted(gain, expect, margin, word):
    records = runs({"constant": 0, "cosine": gain}, noise=0)
    (finding,) = judge(claim(Part(["cosine"], ["test/acc"], expect, margin)), records).findings
    assert finding.word == word
    same = "a difference of exactly the margin in" if word == "inconclusive" else "the same difference in"
    assert finding.why == (f"{same} all 6 pairs" if gain else "no difference in any of 6 pairs")
    assert finding.seeds is None


@pytest.mark.parametrize(
    ("expect", "margin", "effect", "seeds", "word"),
    [
        ("better", 0, 0.01, 6, "supported"),  # 1/32 by a sign test
        ("better", 0, 0.01, 5, "inconclusive"),  # 1/16
        ("better", 0, -0.01, 6, "refuted"),
        ("same", 0.02, 0.01, 6, "supported"),
        ("same", 0.005, 0.01, 6, "refuted"),
        ("same", 0.01, 0.01, 6, "inconclusive"),
    ],
)
def test_the_same_difference_in_every_pair_is_counted(expect, margin, effect, seeds, word):
    records = runs({"constant": 0, "cosine": effect}, seeds, noise=0)
    (finding,) = judge(claim(Part(["cosine"], ["test/acc"], expect, margin)), records).findings
    assert finding.word == word
    assert finding.seeds == (6 if seeds == 5 else None)


def test_a_group_that_always_diverges_is_worse():
    records = runs({"constant": 0}) + runs({"cosine": 0}, status="diverged")
    assert judge(claim(Part(["cosine"], ["test/acc"], "worse")), records).word == "supported"
    assert judge(claim(Part(["cosine"], ["test/acc"], "not worse", 0.1)), records).word == "refuted"
    other = Part(["constant"], ["test/acc"], "better")
    assert judge(claim(other, baseline="cosine"), records).word == "supported"


@pytest.mark.parametrize("lost", ["loss", "diverged and went on"])
def test_runs_that_have_no_value_are_no_random_sample(lost):
    records = runs({"constant": 0, "cosine": 0.1}, seeds=10)
    for run in records[10:15]:
        if lost == "loss":
            run.outcome.final["test/acc"] = None
        else:
            run.progress.divergence = {"step": 3}
    (finding,) = judge(claim(Part(["cosine"], ["test/acc"], "better")), records).findings
    assert finding.word == "inconclusive"
    assert finding.why == f"5 of 10 runs of cosine {'have no test/acc' if lost == 'loss' else 'diverged'}"


def test_runs_that_all_diverged_and_continued_say_nothing():
    """Nobody knows what they would have come to; what they have come to is better here."""
    records = runs({"constant": 0, "cosine": 0.05})
    for run in records[6:]:
        run.progress.divergence = {"step": 3}
    for expect in ("better", "worse"):
        (finding,) = judge(claim(Part(["cosine"], ["test/acc"], expect)), records).findings
        assert finding.word == "inconclusive"
        assert finding.why == "6 of 6 runs of cosine diverged and continued"


def test_a_group_that_diverged_with_few_seeds_may_not_always():
    records = runs({"constant": 0}, seeds=3) + runs({"cosine": 0}, seeds=3, status="diverged")
    (finding,) = judge(claim(Part(["cosine"], ["test/acc"], "worse")), records).findings
    assert (finding.word, finding.seeds) == ("inconclusive", 6)
    assert "all runs of cosine diverged, too few for a sign test" in sentence(finding)


def test_where_some_or_both_diverge_nothing_is_concluded():
    some = runs({"constant": 0, "cosine": 0.1})
    some[-1].outcome.status = "diverged"
    both = runs({"constant": 0, "cosine": 0}, status="diverged")
    crashed = runs({"constant": 0}) + runs({"cosine": 0}, status="failed")
    crashed[-1].outcome.status = "diverged"
    for records in (some, both, crashed):
        assert judge(claim(Part(["cosine"], ["test/acc"], "better")), records).word == "inconclusive"
        assert judge(claim(Part(["cosine"], ["test/acc"], "worse")), records).word == "inconclusive"


def at_rates(schedule: str, accuracies: dict[float, float], **settings) -> list[Record]:
    records = []
    for lr, accuracy in accuracies.items():
        several = runs({schedule: accuracy - 0.9}, **settings)
        for run in several:
            run.plan.config["optimizer"]["lr"] = lr
        records += several
    return records


def test_each_at_its_own_best_rate():
    records = at_rates("constant", {0.1: 0.8, 0.3: 0.9}) + at_rates("cosine", {0.1: 0.92, 0.3: 0.7})
    part = Part(["cosine"], ["test/acc"], "better")
    verdict = judge(claim(part, tuned_over="optimizer.lr"), records)
    assert verdict.word == "supported"
    assert verdict.findings[0].group == "cosine (lr=0.1)"
    assert verdict.findings[0].found.mean == pytest.approx(0.02, abs=0.002)


class TestOneLook:
    """At all seeds of the sweep, whatever else is in its folder."""

    part = Part(["cosine"], ["test/acc"], "better")

    def test_seeds_that_its_sweep_does_not_have_do_not_count(self):
        records = runs({"constant": 0, "cosine": 0.01}, seeds=8)
        verdict = judge(claim(self.part), records, {Path(): range(6)})
        assert (verdict.findings[0].found.n, verdict.effort.runs) == (6, 12)
        assert "the runs of 2 seeds that its sweeps do not have do not count" in verdict.notes

    def test_is_not_taken_before_all_are_there(self):
        with pytest.raises(ConfigError, match=r"^constant: seed 6 is not settled, and it is judged by all"):
            judge(claim(self.part), runs({"constant": 0, "cosine": 0.01}, seeds=6), {Path(): range(8)})

    def test_the_seeds_are_those_of_its_file(self):
        known = Claims(CONF)
        assert known.seeds("shakespeare/bound_orders") == {6, 7, 8}
        assert known.seeds("shakespeare/bound_orders", ["seed=5"]) == {5}
        assert planned_seeds(known.read("shakespeare/bound_orders"), known) == {
            Path("outputs/sweeps/claims-shakespeare"): {6, 7, 8, 9, 10},
            Path("outputs/sweeps/claims-shakespeare-shapes"): {6, 7, 8},
        }
        assert planned_seeds(known.read("faster"), known) == {}  # which has looks


LOOKED = {"looks": [5, 10], "first_seed": 0}


class TestLooks:
    part = Part(["cosine"], ["test/acc"], "better")

    def test_so_many_seeds_count_at_so_much(self):
        verdict = judge(claim(self.part, **LOOKED), runs({"constant": 0, "cosine": 0.01}, seeds=12))
        assert (verdict.findings[0].found.n, verdict.seeds_judged, verdict.effort.runs) == (10, "0..9", 20)
        assert verdict.level == pytest.approx(1 - 0.05 * 2 / 3)
        assert verdict.notes == [
            "judged by seeds 0 to 9, of looks at 5, 10; this was the last look",
            "the runs of 2 other seeds do not count at this look",
        ]
        verdict = judge(claim(self.part, **LOOKED), runs({"constant": 0, "cosine": 0.01}, seeds=5))
        assert verdict.level == pytest.approx(1 - 0.05 / 3)
        assert verdict.notes == ["judged by seeds 0 to 4, of looks at 5, 10; the next look is at 10"]

    def test_a_seed_counts_when_it_has_ended_in_every_group_that_is_judged(self):
        records = runs({"constant": 0, "cosine": 0.01}, seeds=12)
        late = [run for run in records if run.plan.config["seed"] != 7 or run.plan.choices["schedule"] == "constant"]
        assert judge(claim(self.part, **LOOKED), late).seeds_judged == "0..4"
        unjudged = runs({"step": 0}, seeds=3)
        assert judge(claim(self.part, **LOOKED), records + unjudged).seeds_judged == "0..9"
        cut = next(run for run in records if run.plan.config["seed"] == 7)
        cut.outcome.ended_by, cut.plan.total_steps, cut.progress.steps = "time limit", 30, 10
        assert judge(claim(self.part, **LOOKED), records).seeds_judged == "0..4"
        cut.outcome.status = "failed"
        assert judge(claim(self.part, **LOOKED), records).seeds_judged == "0..4"

    def test_before_the_first_nothing_is_said(self):
        with pytest.raises(
            ConfigError, match="seed 4 is not settled in every group; the first look takes seeds 0 to 4"
        ):
            judge(claim(self.part, **LOOKED), runs({"constant": 0, "cosine": 0.1}, seeds=4))

    def test_lucky_seeds_that_chose_do_not_judge(self):
        records = at_rates("constant", {0.1: 0.8}) + at_rates("cosine", {0.1: 0.8, 0.3: 0.7})
        for run in list(records):
            if (of := run.plan.config["seed"]) < 2:  # at 0.3 cosine was lucky with these, for which it was chosen
                lucky = 0.99 if run.plan.config["optimizer"]["lr"] == 0.3 else 0.5
                schedule = run.plan.choices["schedule"]
                chose = a_run(schedule, 101 + of, lucky)
                chose.plan.config["optimizer"]["lr"] = run.plan.config["optimizer"]["lr"]
                records.append(chose)
        tuned = {"tuned_over": "optimizer.lr", "tuned_by": [101, 102], "looks": [5], "first_seed": 0}
        verdict = judge(claim(self.part, **tuned), records)
        assert verdict.word == "refuted"
        assert verdict.findings[0].group == "cosine (lr=0.3)"
        assert verdict.findings[0].found.n == 5
        assert verdict.findings[0].found.mean == pytest.approx(-0.1, abs=0.01)


def test_what_would_decide_all_of_it_is_what_the_last_of_its_parts_takes():
    records = runs({"constant": 0, "cosine": 0.0003, "step": 0.0001})
    verdict = judge(claim(Part(["cosine", "step"], ["test/acc"], "better")), records)
    assert verdict.word == "inconclusive"
    assert verdict.seeds == max(finding.seeds for finding in verdict.findings)


RANGE = Part(["cosine"], ["working values"], "better")


def ranged(constant: dict[float, float], cosine: dict[float, float]):
    records = at_rates("constant", constant) + at_rates("cosine", cosine)
    return judge(claim(RANGE, range_over="optimizer.lr", tolerance=0.05), records)


def test_the_range_of_rates_that_work():
    verdict = ranged({0.1: 0.7, 0.3: 0.9, 1: 0.6}, {0.1: 0.9, 0.3: 0.9, 1: 0.9})
    assert verdict.findings[0].found.mean == 2
    # Two in each of six pairs: no spread for t, and a sign test of 1/32.
    assert (verdict.word, verdict.findings[0].why) == ("supported", "the same difference in all 6 pairs")
    records = at_rates("constant", {0.1: 0.7, 0.3: 0.9, 1: 0.6}) + at_rates("cosine", {0.1: 0.9, 0.3: 0.9, 1: 0.9})
    spread = next(
        run for run in records if run.plan.choices["schedule"] == "constant" and run.outcome.final["test/acc"] < 0.8
    )
    spread.outcome.final["test/acc"] = 0.9
    verdict = judge(claim(RANGE, range_over="optimizer.lr", tolerance=0.05), records)
    assert (verdict.word, verdict.notes) == ("supported", [])


def test_a_value_that_only_one_side_tried_does_not_count():
    verdict = ranged({0.1: 0.9}, {0.1: 0.9, 0.3: 0.9, 1: 0.9})
    assert verdict.findings[0].found.mean == 0
    assert verdict.notes == ["cosine: 6 of 18 runs count, whose seed and value were tried for constant too"]


def of_lengths(*effects: dict[str, float], seeds=6, lengths=()) -> list[Record]:
    records = []
    for length, several in zip(lengths or range(1, len(effects) + 1), effects, strict=True):
        for run in runs(several, seeds):
            run.plan.config["trainer"] = {"max_epochs": length}
            records.append(run)
    return records


@pytest.mark.parametrize(
    ("effects", "word"),
    [
        ([{"a": 0.02, "b": 0}, {"a": 0, "b": 0.02}], "supported"),
        ([{"a": 0.02, "b": 0}, {"a": 0.02, "b": 0}], "refuted"),
        ([{"a": 0.02, "b": 0}, {"a": 0, "b": 0.0004}], "inconclusive"),
        ([{"a": 0.0003, "b": 0}, {"a": 0.0003, "b": 0}], "inconclusive"),
        ([{"a": 0.02, "b": 0, "c": 0}, {"a": 0, "b": 0.02, "c": 0}, {"a": 0.02, "b": 0, "c": 0}], "supported"),
    ],
)
def test_which_is_best_depends_on_the_length(effects, word):
    assert judge(claim(crossing="trainer.max_epochs"), of_lengths(*effects)).word == word


def test_the_values_of_a_crossing_are_in_their_order():
    records = of_lengths({"a": 1, "b": 0}, {"a": 0, "b": 1}, lengths=(10, 9))
    verdict = judge(claim(crossing="trainer.max_epochs"), records)
    assert verdict.notes == [f"trainer.max_epochs={of}" for of in ("9: b validates best", "10: a validates best")]


def test_seeds_that_chose_say_which_is_best():
    """Not those that judge, of which the best would be the luckiest."""
    records = of_lengths({"a": 0.02, "b": 0}, {"a": 0, "b": 0.02})
    for run in list(records):
        for lr in (0.1, 0.3):
            other = a_run(run.plan.choices["schedule"], run.plan.config["seed"] + 100, 0.9 if lr == 0.1 else 0.5)
            other.plan.config["trainer"] = run.plan.config["trainer"]
            other.plan.config["optimizer"] = {"lr": lr}
            # They say that a is best at both lengths, where at the second one it is not.
            other.outcome.final["val/acc"] += 0.01 * (run.plan.choices["schedule"] == "a")
            records.append(other)
    tuned = {"tuned_over": "optimizer.lr", "tuned_by": list(range(100, 106)), "looks": [6], "first_seed": 0}
    verdict = judge(claim(crossing="trainer.max_epochs", **tuned), records)
    assert [note for note in verdict.notes if "validates best" in note] == [
        "trainer.max_epochs=1: a validates best",
        "trainer.max_epochs=2: a validates best",
    ]
    assert verdict.word == "inconclusive"


def test_a_metric_that_nobody_knows_is_not_judged_by():
    """Records may come from anybody."""
    records = of_lengths({"a": 0.02, "b": 0}, {"a": 0, "b": 0.02})
    for run in records:
        run.plan.config["metric"] = "f1"
    assert judge(claim(crossing="trainer.max_epochs"), records).word == "supported"


def test_a_crossing_is_judged_by_the_first_metric_that_a_module_declares():
    records = of_lengths({"a": 0.02, "b": 0}, {"a": 0, "b": 0.02})
    for run in records:
        run.plan.config |= {"metrics": {"test_rmse": "lower", "val_rmse": "lower"}, "metric": "val_rmse"}
        rmse = 1 - run.outcome.final["test/acc"]
        run.outcome.final = {"test_rmse": rmse, "val_rmse": rmse}
    verdict = judge(claim(crossing="trainer.max_epochs"), records)
    assert (verdict.word, verdict.findings[0].measure) == ("supported", "test_rmse")


def test_one_seed_shows_no_crossing():
    records = of_lengths({"a": 0.02, "b": 0}, {"a": 0.02, "b": 0}, seeds=1)
    assert judge(claim(crossing="trainer.max_epochs"), records).word == "inconclusive"


@pytest.mark.parametrize(
    ("effects", "message"),
    [
        ([{"a": 0, "b": 0}], "must be a key with two values, for two groups"),
        ([{"a": 0}, {"a": 0}], "must be a key with two values, for two groups"),
        ([{"a": 0, "b": 0}, {"a": 0}], "b must have completed runs at 2 too"),
    ],
)
def test_a_crossing_takes_every_group_at_every_value(effects, message):
    with pytest.raises(ConfigError, match=message):
        judge(claim(crossing="trainer.max_epochs"), of_lengths(*effects))


def test_groups_that_are_not_there_are_refused():
    with pytest.raises(ConfigError, match=r"^linear must be one of its groups, which are constant, cosine$"):
        judge(claim(Part(["linear"], ["test/acc"], "better")), runs({"constant": 0, "cosine": 0}))


def test_a_name_of_several_groups_is_refused_with_those_that_it_fits():
    records = at_rates("cosine", {0.1: 0.9, 0.3: 0.9}) + at_rates("constant", {0.1: 0.9})
    message = r"^cosine must be one of its groups, and fits cosine lr=0.1, cosine lr=0.3$"
    with pytest.raises(ConfigError, match=message):
        judge(claim(Part(["cosine"], ["test/acc"], "better")), records)


def test_two_data_sets_are_refused():
    part = Part(["cosine"], ["test/acc"], "better")
    with pytest.raises(ConfigError, match="must be of one data set, not digits, mnist"):
        judge(claim(part), runs({"constant": 0, "cosine": 0}) + runs({"cosine": 0}, data="mnist"))


@pytest.mark.parametrize("name", Claims(CONF).names())
def test_every_claim_says_what_it_is(name):
    read = Claims(CONF).read(name)
    assert read.says.endswith(".")
    assert all((read.source, read.supported, read.refuted))
    assert read.parts or read.crossing or read.bound_orders


@pytest.mark.slow
@pytest.mark.parametrize("name", Claims(CONF).names())
def test_every_claim_is_about_groups_that_its_sweeps_have(name):
    check_plan(Claims(CONF).read(name), Claims(CONF))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            "claim.parts=[{groups: [cosine], measures: [speed], expect: better}]",
            "measures=speed: must be one of test/acc",
        ),
        (
            "claim.parts=[{groups: [cosine], measures: [test/acc], expect: nice}]",
            "parts[0].expect: invalid enum value 'nice': must be one of better",
        ),
        ("claim.parts=[{groups: [], measures: [test/acc], expect: better}]", "parts: must name groups and measures"),
        (
            "claim.parts=[{groups: [cosine], measures: test/acc, expect: better}]",
            "parts[0].measures: expected a list, got a text",
        ),
        ("claim.parts=null", "parts: expected a list, got null"),
        ("claim.says=null", "says: expected a text, got null"),
        ("+claim.sweeps=article", "sweeps: expected a list, got a text"),
        ("+claim.tuned_over=3", "tuned_over: expected a text or a list or null, got an integer"),
        ("+claim.range_over=optimizer.lr", "measures=epochs to val/acc: must be one of working values"),
        ("+claim.folders=[a]", "unknown field folders"),
        ("seed=1,2", "its overrides must have one value each"),
        ("claim.parts=[{groups: [cosine], measures: [test/acc], expect: same}]", "margin=0.0: must be finite, above 0"),
        (
            "claim.parts=[{groups: [cosine], measures: [test/acc], expect: better, margin: inf}]",
            "margin=inf: must be finite",
        ),
        ("+claim.tolerance=0.005", "tolerance=0.005: must be finite and at least 0, and come with range_over"),
        ("+claim.tolerance=-1", "tolerance=-1.0: must be finite"),
        ("claim.parts=[{groups: [cosine]}]", "parts[0]: missing required field measures"),
        ("~claim.says", "claim: missing required field says"),
        ("+claim.proof=none", "claim: unknown field proof"),
        ("claim.parts=[]", "must have parts and their baseline, or crossing"),
        ("~claim.parts", "must have parts and their baseline, or crossing"),
        ("+claim.bound_orders=test/loss", "must have parts and their baseline, or crossing, or bound_orders"),
        (
            ["~claim.parts", "~claim.baseline", "+claim.bound_orders=loss"],
            "bound_orders=loss: must be one of test/acc",
        ),
        (
            ["~claim.parts", "~claim.baseline", "+claim.bound_orders=test/loss", "+claim.range_over=optimizer.lr"],
            "range_over=optimizer.lr: must come with parts",
        ),
        ("claim=null", "claim: expected a mapping, got null"),
        (
            ["+claim.tuned_over=optimizer.lr", "+claim.tuned_by=[25]"],
            "tuned_by=[25]: must not contain [25], which judge at its looks",
        ),
        ("claim.first_seed=-1", "first_seed=-1: must be at least 0, and come with looks"),
        ("~claim.looks", "first_seed=21: must be at least 0, and come with looks"),
        ("+claim.looks=[10,5]", "looks=[10, 5]: must be rising numbers of seeds"),
        ("+claim.looks=[1,5]", "looks=[1, 5]: must be rising numbers of seeds, at least 2 each"),
        ("+claim.tuned_by=[9]", "tuned_by=[9]: must come with tuned_over and looks"),
        (["+claim.tuned_over=optimizer.lr", "+claim.looks=[5]"], "tuned_over=optimizer.lr: must come with tuned_by"),
    ],
)
def test_a_claim_that_is_none_is_refused(more, message):
    with pytest.raises(ConfigError) as refused:
        Claims(CONF).read("faster", [more] if isinstance(more, str) else more)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_findings_as_markdown():
    part = Part(["cosine"], ["test/acc"], "better")
    text = markdown([judge(claim(part), runs({"constant": 0, "cosine": 0.01}))], "python scripts/claims.py")
    assert "| Something. | digits | somebody | **supported** | 1 supported |" in text
    assert re.search(r"^- cosine better than constant in test/acc: gain \+\d\.\d\d points \(", text, re.MULTILINE)
    assert "12 runs of 6 seeds on digits" in text


@pytest.mark.slow
def test_from_the_command_to_the_verdict_and_again_without_training(tmp_path):
    tiny = ["data=digits", "data.train_size=200", "data.val_size=100", "trainer.max_epochs=2", "name=tiny", "model=mlp"]
    arguments = ["rate_too_high_or_low", *tiny, "--output", "findings.md"]
    done = run_apart("scripts/claims.py", *arguments, cwd=tmp_path, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert "A rate too high oscillates or fails to converge" in done.stdout
    assert "lr=0.1 worse than lr=0.001 in test/acc: gain" in done.stdout
    assert "25 runs of 5 seeds on digits" in done.stdout
    findings = (tmp_path / "findings.md").read_text()
    assert (tmp_path / "images/claims/rate_too_high_or_low-tiny.png").read_bytes().startswith(b"\x89PNG")
    again = run_apart("scripts/claims.py", arguments[0], "--no-run", *arguments[1:], cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    verdict = done.stdout[done.stdout.index("A rate too high") :]
    assert again.stdout.strip() == verdict.strip()
    assert (tmp_path / "findings.md").read_text().splitlines()[4:] == findings.splitlines()[4:]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "error: claim nonsense: must be one of bound_orders, cooldown_length"),
        (["faster", "--no-run"], "error: claim faster: no runs in outputs/sweeps/article"),
        (["faster", "--output", "x.txt"], "error: --output=x.txt: must be a file that ends in .md"),
        (["faster", "name=x", "data=nonsense"], "error: data=nonsense: must be one of auto"),
        (["faster", "trainer.max_epochs=5"], "error: trainer.max_epochs=5: must come with name="),
        (
            ["rate_off_the_mark", "name=x", "claim.baseline=fixed"],
            "error: claim rate_off_the_mark: fixed must be one of its groups, which are lr=1e-05, lr=0.0001",
        ),
        (["faster", "stabler", "name=x"], "error: name=x: needs a single claim"),
        (["schedule_free_matches", "name=x"], "error: name=x: needs a single claim"),
        (["mnist1d/decays_to_zero", "--seeds", "1..9"], "error: --seeds: claim mnist1d/decays_to_zero has one look"),
        (["mnist1d/stabler_sgd", "--seeds", "1..9"], "error: --seeds=1..9: must begin at 21, the first seed that"),
        (["mnist1d/helps_adam", "--seeds", "1..7"], "error: --seeds=1..7: must be as many as a look at claim mnist1d/"),
        (
            ["stabler", "name=x", "+claim.sweeps=[mine]"],
            "error: name=x: needs a single claim that reads a single sweep",
        ),
        (
            ["mnist1d/helps_adam", "name=x", "claim.tuned_over=optimizer.eps"],
            "error: claim mnist1d/helps_adam: optimizer.eps: must be a key that its sweeps vary",
        ),
        (
            ["rate_off_the_mark", "hydra.sweeper.params.seed=1"],
            "error: hydra.sweeper.params.seed=1: must come with name=",
        ),
        (["mnist1d/helps_adam", "--seeds", "1..5", "--no-run"], "error: --seeds: cannot be combined with --no-run"),
    ],
)
def test_bad_input_is_one_line(tmp_path, arguments, message):
    done = run_apart("scripts/claims.py", *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1
