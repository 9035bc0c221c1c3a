import numpy as np
import pytest
from support.records import a_run, at_rate, grid, groups_of

from lrdecay.analysis.comparison import compare_groups
from lrdecay.analysis.groups import group_records
from lrdecay.analysis.tuning import tune
from lrdecay.errors import ConfigError
from lrdecay.records.record import Record


def labels(*runs: Record) -> list[str]:
    return [g.label for g in groups_of(*runs)]


class TestGroups:
    def test_runs_that_differ_in_the_seed_only_are_one(self):
        groups = groups_of(a_run(seed=1), a_run(seed=0), a_run("cosine", seed=1))
        assert [(g.label, len(g.runs)) for g in groups] == [("step", 2), ("cosine", 1)]

    def test_are_named_by_what_differs(self):
        assert labels(a_run(gamma=0.1), a_run(gamma=0.5), a_run("cosine")) == ["step γ=0.1", "step γ=0.5", "cosine"]
        assert labels(a_run(gamma=0.1, final=0), a_run(gamma=0.1, final=1)) == ["final=0", "final=1"]
        assert labels(a_run()) == ["step"]

    def test_a_key_that_varies_together_with_the_schedule_is_said(self):
        assert labels(a_run(), at_rate("cosine", 1.0)) == ["step lr=0.1", "cosine lr=1.0"]

    def test_a_rate_may_be_written_in_two_ways(self):
        assert labels(at_rate("step", 1), at_rate("step", 1.0, seed=2), at_rate("cosine", 1.0)) == ["step", "cosine"]

    def test_keys_that_end_alike_are_told_apart(self):
        runs = [a_run(), a_run(), a_run()]
        for run, (ours, its_own) in zip(runs, ((0.1, 1), (0.2, 1), (0.1, 2)), strict=True):
            run.plan.config |= {"optimizer": {"lr": ours}, "module": {"_target_": "mine.Module", "lr": its_own}}
        assert labels(*runs)[1:] == ["module.lr=1 optimizer.lr=0.2", "module.lr=2 optimizer.lr=0.1"]
        assert labels(*runs[:2]) == ["lr=0.1", "lr=0.2"]

    def test_the_schedule_of_another_quantity_is_not_taken_for_its_value(self):
        runs = [a_run(), a_run()]
        for run, name in zip(runs, ("cosine", "linear"), strict=True):
            run.plan.choices["schedule@scheduled.label_smoothing"] = name
            run.plan.config["scheduled"] = {"label_smoothing": {"_target_": name}}
        assert labels(*runs) == ["scheduled.label_smoothing=cosine", "scheduled.label_smoothing=linear"]

    def test_a_key_that_only_others_have_is_not_said(self):
        without, other = a_run(), a_run()
        other.plan.config["module"] = {"_target_": "mine.Module", "width": 8, "gain": 2}
        without.plan.config["module"] = {"_target_": "mine.Module", "width": 4}
        assert labels(without, other) == ["width=4", "gain=2 width=8"]

    def test_have_names_of_their_own(self):
        alone, both = a_run("plateau"), a_run("plateau", factor=0.5)
        alone.plan.choices["scale"], both.plan.choices["scale"] = "none", "plateau"
        names = labels(alone, both, a_run("cosine"))
        assert len(set(names)) == 3

    def test_a_label_is_one_line_of_a_length_that_can_be_read(self):
        for label in labels(a_run(what="x" * 20_000), a_run(what="a\nerror: b")):
            assert len(label) < 80
            assert "\n" not in label

    def test_data_sets_are_kept_apart(self):
        by_data = group_records([a_run(data="digits"), a_run(data="mnist"), a_run(data="mnist", seed=2)])
        assert {data: len(groups[0].runs) for data, groups in by_data.items()} == {"digits": 1, "mnist": 2}

    def test_a_run_that_failed_before_its_data_was_known_joins_the_only_data_set(self):
        assert list(group_records([a_run(), a_run(status="failed", data=None)])) == ["digits"]

    def test_failed_runs_are_counted_and_shown(self):
        (only,) = groups_of(a_run(), a_run(seed=2, status="diverged"), a_run(seed=3, status="failed"))
        assert only.counts() == "1 of 3 (1 diverged, 1 failed)"
        assert only.final("val/acc").tolist() == [0.9]

    def test_an_epoch_that_the_run_ended_within_ends_where_the_run_did(self):
        run = a_run()
        run.progress.epochs[-1]["step"] = 21
        assert groups_of(run)[0].epochs.tolist() == [1, 2, 2.2]

    def test_curves_of_different_length(self):
        (only,) = groups_of(a_run(epochs=2), a_run(seed=2, epochs=3))
        np.testing.assert_array_equal(only.curve("val/acc"), [[0.9, 0.9, np.nan], [0.9, 0.9, 0.9]])


class TestTuned:
    def test_each_group_has_the_value_that_validates_best(self):
        runs = [at_rate("constant", lr, seed, acc) for lr, acc in ((0.1, 0.8), (0.3, 0.9), (1, 0.7)) for seed in (1, 2)]
        runs += [
            at_rate("cosine", lr, seed, acc) for lr, acc in ((0.1, 0.8), (0.3, 0.85), (1, 0.95)) for seed in (1, 2)
        ]
        chosen, notes = tune(groups_of(*runs), ["optimizer.lr"])
        assert [g.name for g in chosen] == ["constant (lr=0.3)", "cosine (lr=1)"]
        assert notes == [
            "each group at its best optimizer.lr by val/acc; the 8 runs at other values, of which 0 did not complete, "
            "are left out",
            "best at the highest optimizer.lr that was tried: cosine (1)",
        ]

    def test_is_chosen_on_validation_whatever_the_test_says(self):
        runs = [at_rate("cosine", lr, accuracy=acc) for lr, acc in ((0.1, 0.8), (0.3, 0.9))]
        for run, test in zip(runs, (0.99, 0.1), strict=True):
            run.outcome.final["test/acc"] = test
        ((chosen,), _) = tune(groups_of(*runs), ["optimizer.lr"])
        assert chosen.tuned == {"optimizer.lr": 0.3}

    def test_by_loss_the_lowest_is_best(self):
        runs = [at_rate("cosine", lr) for lr in (0.1, 0.3)]
        for run, loss in zip(runs, (0.2, 0.4), strict=True):
            run.plan.config["metric"], run.outcome.final["val/loss"] = "val/loss", loss
        ((chosen,), _) = tune(groups_of(*runs), ["optimizer.lr"])
        assert chosen.tuned == {"optimizer.lr": 0.1}

    @pytest.mark.parametrize("status", ["diverged", "failed", "running"])
    def test_a_value_at_which_a_run_did_not_complete_comes_after_those_without(self, status):
        runs = [
            at_rate("cosine", 0.1, 1, 0.8),
            at_rate("cosine", 0.3, 1, 0.9),
            at_rate("cosine", 0.3, 2, status=status),
        ]
        ((chosen,), _) = tune(groups_of(*runs), ["optimizer.lr"])
        assert chosen.tuned == {"optimizer.lr": 0.1}

    def test_a_key_that_does_not_vary_is_refused(self):
        with pytest.raises(ConfigError, match=r"^tuned over schedule.gamma: must be a key that varies among .*: opt"):
            tune(grid(schedules=["cosine"]), ["schedule.gamma"])

    def test_groups_are_compared_at_their_best(self):
        chosen, _ = tune(grid(), ["optimizer.lr"])
        comparison = compare_groups("digits", chosen)
        assert comparison.baselines["cosine"].label == "constant"
