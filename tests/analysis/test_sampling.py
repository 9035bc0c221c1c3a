import logging
import math

import numpy as np
import pytest
from scipy.special import stdtrit
from support.records import a_run, groups_of, write_runs

from lrdecay.analysis.comparison import NEW_DATA, NEW_SEEDS, compare_records
from lrdecay.analysis.inference import Difference
from lrdecay.analysis.power import seeds_to_decide
from lrdecay.records.items import FILE, Items, read_items, write_items


def on_disk(folder, likely: dict[str, float], seeds=range(1, 9), items=200):
    """Runs with the outcomes of their test items, right as often as said."""
    rng = np.random.default_rng(0)
    runs = []
    for schedule, p in likely.items():
        for seed in seeds:
            right = (rng.random(items) < p).astype(np.float32)
            runs.append((a_run(schedule, seed, float(right.mean())), Items(right, 1 - right)))
    write_runs(folder, [run for run, _ in runs])
    for run, outcome in runs:
        write_items(run.directory, outcome)
    return [run for run, _ in runs]


def rows(runs, measure="test/acc"):
    (comparison,) = compare_records(runs)
    return comparison, comparison.row(comparison.tested[0], measure)


def test_a_shared_test_set_adds_its_sampling(tmp_path):
    runs = on_disk(tmp_path, {"constant": 0.8, "step": 0.9})
    _, row = rows(runs)
    for run in runs:
        (run.directory / FILE).unlink()
    _, alone = rows(runs)
    assert (row["covers"], alone["covers"]) == (NEW_DATA, NEW_SEEDS)
    assert row["difference"] == alone["difference"]
    assert rows(runs, "val/acc")[1]["covers"] == NEW_SEEDS


def test_one_file_that_is_damaged_is_said_and_leaves_seeds_alone(tmp_path, caplog):
    runs = on_disk(tmp_path, {"constant": 0.8, "step": 0.9})
    (runs[0].directory / FILE).write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        _, row = rows(runs)
    assert row["covers"] == NEW_SEEDS
    assert "not the outcomes of a test set" in caplog.text


def resampled_runs(data="digits", **sizes):
    runs = [a_run(s, seed, 0.9 + 0.01 * seed * (s == "step"), data) for s in ("constant", "step") for seed in (1, 2, 3)]
    for run in runs:
        run.plan.config["data"] = {"_target_": "lrdecay.data.Digits", "resample": True}
        run.plan.sizes = sizes or {"train": 1150, "val": 288, "test": 359}
    return runs


def test_a_pool_that_each_seed_splits_anew_widens_the_interval():
    _, row = rows(resampled_runs())
    _, generated = rows(resampled_runs(data="mnist1d"))
    widths = [one["difference high"] - one["difference low"] for one in (row, generated)]
    assert row["covers"] == generated["covers"] == NEW_DATA
    assert widths[0] == pytest.approx(widths[1] * np.sqrt(1 + 3 * 359 / 1150))


def test_a_measure_of_validation_overlaps_by_what_was_validated():
    runs = resampled_runs()
    widths = [
        row["difference high"] - row["difference low"] for row in (rows(runs, m)[1] for m in ("val/acc", "test/acc"))
    ]
    factors = [np.sqrt(1 / 3 + of / 1150) for of in (288, 359)]
    assert widths[0] / widths[1] == pytest.approx(factors[0] / factors[1])


def test_a_pool_of_unknown_size_is_not_claimed_for_new_data():
    for unknown in ({"train": 1150}, {"test": 359}, {"train": 0, "test": 359}):
        assert rows(resampled_runs(**unknown))[1]["covers"] == NEW_SEEDS
    mixed = resampled_runs()
    mixed[0].plan.sizes = {}
    assert rows(mixed)[1]["covers"] == NEW_SEEDS


def test_whose_data_are_drawn_by_seed_is_known_of_the_packages_own_only():
    runs = resampled_runs()
    for run in runs:  # a fixed set of ours, one of whose other keys follows from the seed
        run.plan.config["data"]["resample"] = False
        run.plan.composed = {"data": {"shift": "${seed}"}}
    assert rows(runs)[1]["covers"] == NEW_SEEDS
    for run in runs:
        run.plan.config["data"] = {"_target_": "my.Data", "split_seed": run.plan.config["seed"]}
        run.plan.composed = {"data": {"_target_": "my.Data", "split_seed": "${seed}"}}
    assert rows(runs)[1]["covers"] == NEW_DATA


def test_anothers_resample_is_a_key_like_any():
    runs = [a_run("step", seed, 0.9) for seed in (1, 2)]
    for run, resample in zip(runs, ("often", None), strict=True):
        run.plan.config["data"] = {"_target_": "my.Data", "resample": resample}
    assert len(groups_of(*runs)) == 2


def test_windows_of_a_text_count_as_passages(tmp_path):
    """Outcomes that are alike over twenty windows in a row are not as many as there are windows."""
    runs = on_disk(tmp_path, {"constant": 0.8, "step": 0.9}, items=40)
    for run in runs:
        run.plan.config["data"] = {"_target_": "lrdecay.data.Shakespeare"}
    few = rows(runs)[1]
    for run in runs:
        items = read_items(run.directory)
        write_items(run.directory, Items(np.repeat(items.right, 20), np.repeat(items.loss, 20)))
    many = rows(runs)[1]
    assert many["covers"] == NEW_DATA
    assert (many["difference low"], many["difference high"]) == pytest.approx(
        (few["difference low"], few["difference high"])
    )


def test_keys_that_follow_from_the_seed_make_no_groups():
    runs = [a_run("step", seed, 0.9) for seed in (1, 2, 3)]
    for run in runs:
        run.plan.config["data"] = {"_target_": "my.Data", "split_seed": run.plan.config["seed"]}
        run.plan.composed = {"data": {"_target_": "my.Data", "split_seed": "${seed}"}}
    (group,) = groups_of(*runs)
    assert len(group.runs) == 3
    for run in runs:
        run.plan.composed["data"]["split_seed"] = run.plan.config["seed"]
    assert len(groups_of(*runs)) == 3


class TestPower:
    def test_is_that_of_the_t_test(self):
        """Simulated: so many seeds find the difference in 80% of the cases."""
        found = Difference(0.5, 0, 1, 5, 0.2, True, of_seeds=1.0)
        n = seeds_to_decide(found, lambda n: 0.05, [0.5])
        assert 30 <= n <= 38  # a table of Student's test says 34
        rng = np.random.default_rng(0)
        draws = rng.normal(0.5, 1, (4000, n))
        t = draws.mean(axis=1) / (draws.std(axis=1, ddof=1) / np.sqrt(n))
        assert np.mean(t > 2.03) == pytest.approx(0.8, abs=0.03)

    def test_of_two_margins_is_that_of_both(self):
        """Simulated: so many seeds show in 80% of the cases that nothing lies beyond either margin."""
        found = Difference(0.0, -1, 1, 5, 1.0, True, of_seeds=1.0)
        n = seeds_to_decide(found, lambda n: 0.05, [0.5, 0.5])
        assert n > seeds_to_decide(found, lambda n: 0.05, [0.5])
        draws = np.random.default_rng(0).normal(0, 1, (4000, n))
        half = stdtrit(n - 1, 0.975) * draws.std(axis=1, ddof=1) / np.sqrt(n)
        assert np.mean(np.abs(draws.mean(axis=1)) + half < 0.5) == pytest.approx(0.8, abs=0.03)

    def test_takes_what_a_later_look_may_spend(self):
        found = Difference(0.5, 0, 1, 5, 0.2, True, of_seeds=1.0)
        first, later = (
            seeds_to_decide(found, alpha, [0.5]) for alpha in (lambda n: 0.005, lambda n: 0.005 + 0.015 * (n > 10))
        )
        assert later < first

    def test_knows_when_no_seeds_would_do(self):
        assert seeds_to_decide(Difference(0.01, -1, 1, 5, 0.9, True, of_seeds=1.0), lambda n: 0.05, [0.01]) == math.inf
        of_data = Difference(0.1, -1, 1, 5, 0.9, True, True, of_seeds=1e-4, of_data=0.01)
        assert seeds_to_decide(of_data, lambda n: 0.05, [0.1]) == math.inf

    def test_knows_nothing_without_a_spread(self):
        assert seeds_to_decide(Difference(0.1, -1, 1, 5, 0.9, False), lambda n: 0.05, [0.1]) is None

    def test_is_said_of_what_is_open(self):
        rng = np.random.default_rng(1)
        runs = [
            a_run(s, seed, 0.9 + 0.004 * (s == "step") + 0.01 * rng.standard_normal())
            for s in ("constant", "step")
            for seed in range(1, 6)
        ]
        for run in runs:
            run.progress.seconds = 60.0
        (comparison,) = compare_records(runs)
        assert any(note.startswith("open in test/acc, and what would decide it") for note in comparison.notes)
