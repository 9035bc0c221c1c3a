"""Rates and losses from records and from CSVs of anybody's."""

from pathlib import Path

import numpy as np
import pytest
from support.records import a_run

from lrdecay.analysis.traces import of_csv, of_records
from lrdecay.errors import ConfigError


def recorded(schedule="cosine", lr=0.1, **more):
    run = a_run(schedule, epochs=4, **more)
    run.plan.config["optimizer"]["lr"] = lr
    run.plan.total_steps = run.progress.steps = 40
    run.progress.rates = [(0, lr), (20, lr / 2), (39, 0.0)]
    return run


class TestRecords:
    def test_have_every_rate_and_the_losses_after_each_epoch(self):
        (trace,) = of_records([recorded()], "val/loss")
        assert trace.steps.tolist() == [10, 20, 30, 40]
        assert trace.losses.tolist() == [0.5] * 4
        assert len(trace.rates) == 40
        assert trace.rates[[0, 10, 20]] == pytest.approx([0.1, 0.075, 0.05])
        assert of_records([recorded()], "train/loss")[0].losses.tolist() == [1.0] * 4

    def test_can_be_taken_by_their_peak(self):
        runs = [recorded(lr=0.1), recorded(lr=0.3), recorded("step", lr=0.1)]
        assert len(of_records(runs, "val/loss", 0.1)) == 2

    @pytest.mark.parametrize(
        ("runs", "message"),
        [
            ([], "must have runs that completed as planned, and there are none of 0"),
            ([recorded(status="failed")], "and there are none of 1"),
            ([recorded(), recorded(data="mnist")], "on one data set, not digits, mnist"),
            ([recorded(), recorded(batch=3)], None),
        ],
    )
    def test_that_are_not_alike_are_refused(self, runs, message):
        if message is None:  # a key of the schedule may differ, one of the data may not
            assert len(of_records(runs, "val/loss")) == 2
            runs[1].plan.config["data"] = {"batch_size": 8}
            message = "differ in schedule, length and seed only, not in data.batch_size"
        with pytest.raises(ConfigError) as refused:
            of_records(runs, "val/loss")
        assert message in str(refused.value)

    def test_without_the_loss_are_refused(self):
        run = recorded()
        for row in run.progress.epochs:
            del row["val/loss"]
        with pytest.raises(ConfigError, match="run: has no val/loss, which the law is to be fitted to"):
            of_records([run], "val/loss")


def table(tmp_path: Path, header: str, *rows: str) -> Path:
    file = tmp_path / "runs.csv"
    file.write_text("\n".join([header, *rows]))
    return file


ROWS = [
    f"{step},{0.1 * (1 - step / 200)},{3 - step / 200 if step % 20 == 0 and step else ''}" for step in range(0, 201, 10)
]


class TestTables:
    def test_may_lack_losses_where_none_was_measured(self, tmp_path):
        (trace,) = of_csv(table(tmp_path, "step,lr,val/loss", *ROWS))
        assert trace.steps.tolist() == list(range(20, 201, 20))
        assert trace.losses[0] == pytest.approx(2.9)
        assert trace.rates == pytest.approx(0.1 * (1 - np.arange(200) / 200))
        assert trace.name == "runs"

    def test_may_hold_several_runs_under_names_of_their_own(self, tmp_path):
        rows = [f"{run},{row}" for run in ("a", "b") for row in ROWS]
        file = table(tmp_path, "which,Step,eta,perplexity", *rows)
        traces = of_csv(file, {"run": "which", "rate": "eta", "loss": "perplexity"})
        assert [trace.name for trace in traces] == ["a", "b"]

    def test_can_be_taken_by_their_peak(self, tmp_path):
        file = table(tmp_path, "step,lr,loss", *ROWS)
        assert len(of_csv(file, peak=0.1)) == 1
        with pytest.raises(ConfigError, match=r"none of its 1 run has the peak rate 0\.3"):
            of_csv(file, peak=0.3)

    @pytest.mark.parametrize(
        ("header", "rows", "message"),
        [
            ("", [], "must be a CSV with columns step, rate and loss"),
            (
                "step,loss",
                ["1,2"],
                "must have a column for the rate, such as rate, lr, learning_rate, train/learning_rate",
            ),
            ("step,lr,loss", ["0,a,2"], "column lr must hold numbers"),
            ("step,lr,loss", ["10,0.1,2", "0,0.1,2"], "run runs: its steps must be numbers that rise"),
            ("step,lr,loss", ["0,0.1,2", ",0.1,2"], "its steps must be numbers that rise"),
            ("step,lr,loss", ["0,-0.1,2", "10,0.1,2"], "its rates must not be below 0"),
            ("step,lr,loss", ["0,0.1,2", "10,0.1,-2"], "its losses must be finite and above 0"),
            ("step,lr,loss", ["0,0.1,", "10,0.1,"], "must have losses and rates"),
            ("step,lr,loss", ["900,0.1,2", "1000,0.1,2"], "its rate is unknown for 900 of 1000 steps"),
            ("step,lr,loss", ["0,0.1,2", "50,0.1,2", "1000,0.1,2"], "its rate is unknown for 950 of 1000 steps"),
        ],
    )
    def test_that_cannot_be_used_are_one_line(self, header, rows, message, tmp_path):
        with pytest.raises(ConfigError) as refused:
            of_csv(table(tmp_path, header, *rows))
        assert message in str(refused.value)
        assert "\n" not in str(refused.value)

    def test_other_columns_are_named(self, tmp_path):
        with pytest.raises(ConfigError, match="has no column eta; its columns are step, lr, loss"):
            of_csv(table(tmp_path, "step,lr,loss", *ROWS), {"rate": "eta"})
        with pytest.raises(ConfigError, match="must be a CSV"):
            of_csv(tmp_path / "none.csv")
