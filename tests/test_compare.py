import csv
import io

import numpy as np
import pytest
from conftest import a_run
from scipy import stats

from lrdecay.compare import group, interval
from lrdecay.record import Record
from lrdecay.report import comparison_csv, table


def labels(*runs: Record) -> list[str]:
    (groups,) = group(runs).values()
    return [g.label for g in groups]


class TestInterval:
    def test_is_students(self):
        values = np.array([0.1, 0.4, 0.2, 0.9])
        low, high = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values))
        mean, half = interval(values)
        assert (mean - half, mean + half) == pytest.approx((low, high))

    def test_one_run_has_none_and_missing_values_do_not_count(self):
        mean, half = interval(np.array([[1.0, 1.0, np.nan], [3.0, np.nan, np.nan]]))
        np.testing.assert_array_equal(mean, [2, 1, np.nan])
        assert half[0] > 0
        assert np.isnan(half[1:]).all()


class TestGroups:
    def test_runs_that_differ_in_the_seed_only_are_one(self):
        (groups,) = group([a_run(seed=1), a_run(seed=0), a_run("cosine", seed=1)]).values()
        assert [(g.label, len(g.runs)) for g in groups] == [("step", 2), ("cosine", 1)]

    def test_are_named_by_what_differs(self):
        assert labels(a_run(gamma=0.1), a_run(gamma=0.5), a_run("cosine")) == [
            "step gamma=0.1",
            "step gamma=0.5",
            "cosine",
        ]
        assert labels(a_run(gamma=0.1, final=0), a_run(gamma=0.1, final=1)) == ["final=0", "final=1"]
        assert labels(a_run()) == ["step"]

    def test_a_key_that_varies_together_with_the_schedule_is_said(self):
        faster = a_run("cosine")
        faster.config["optimizer"]["lr"] = 1.0
        assert labels(a_run(), faster) == ["step lr=0.1", "cosine lr=1.0"]

    def test_data_sets_are_kept_apart(self):
        by_data = group([a_run(data="digits"), a_run(data="mnist"), a_run(data="mnist", seed=2)])
        assert {data: len(groups[0].runs) for data, groups in by_data.items()} == {"digits": 1, "mnist": 2}

    def test_a_run_that_failed_before_its_data_was_known_joins_the_only_data_set(self):
        assert list(group([a_run(), a_run(status="failed", data=None)])) == ["digits"]

    def test_failed_runs_are_counted_and_shown(self):
        ((only,),) = group([a_run(), a_run(seed=2, status="diverged"), a_run(seed=3, status="failed")]).values()
        assert only.counts() == "1 of 3 (1 diverged, 1 failed)"
        assert only.final("val/acc").tolist() == [0.9]

    def test_curves_of_different_length(self):
        ((only,),) = group([a_run(epochs=2), a_run(seed=2, epochs=3)]).values()
        np.testing.assert_array_equal(only.curve("val/acc"), [[0.9, 0.9, np.nan], [0.9, 0.9, 0.9]])


def test_csv_holds_the_numbers():
    by_data = group([a_run(accuracy=0.8), a_run(seed=2, accuracy=0.9), a_run("cosine", status="failed")])
    step, cosine = csv.DictReader(io.StringIO(comparison_csv(by_data)))
    assert (step["data"], step["group"], step["runs"]) == ("digits", "step", "2")
    assert float(step["val/acc mean"]) == pytest.approx(0.85)
    assert float(step["val/acc ±95%"]) == pytest.approx(12.706 * 0.05, rel=1e-3)
    assert float(step["best epoch"]) == 3
    assert (cosine["runs"], cosine["completed"], cosine["val/acc mean"]) == ("1", "0", "")


def test_table_has_a_row_for_each_group_failed_ones_too():
    (groups,) = group([a_run(), a_run("cosine", status="failed")]).values()
    grid = table("digits", groups)
    assert [list(map(str, column.cells)) for column in grid.columns][:3] == [
        ["step", "cosine"], ["1", "0 of 1 (1 failed)"], ["90.00%", "–"]
    ]  # fmt: skip
