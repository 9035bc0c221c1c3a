"""Rates and losses from CSVs of anybody's, TensorBoard's and Weights & Biases' among them."""

from pathlib import Path

import numpy as np
import pytest

from lrdecay.analysis.exports import of_csv
from lrdecay.errors import ConfigError


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
            ("", [], "must be a CSV with columns step, rate, loss"),
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
            ("step,lr,loss", ["0,0.1,", "10,0.1,"], "must have rates, and losses after step 0"),
            (
                "run,step,lr,loss",
                ["a,0,0.1,2", "b,0,0.1,2", "b,10,0.1,2"],
                "run a: must have rates, and losses after step 0",
            ),
            ("step, step,lr,loss", ["0,0,0.1,2"], "must have each column once, and has step twice"),
            ("run,step,lr,loss", ["a,0,0.1,2", ",10,0.1,2"], "column run must name a run in every row"),
            ("step,lr,loss", ["0,0.1,2", "1e13,0.1,2"], "must have at most 100,000,000 steps"),
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


STEPS = range(0, 201, 10)


def written(file: Path, header: str, *rows: str) -> Path:
    file.write_text("\n".join([header, *rows]) + "\n")
    return file


class TestCharts:
    """The headers are those of the files that TensorBoard 2.20 and wandb.ai download."""

    def test_of_tensorboard_are_two_files_of_one_run(self, tmp_path):
        losses = written(
            tmp_path / "loss.csv", "Wall time,Step,Value", *[f"17e8,{s},{3 - s / 200}" for s in STEPS if s % 20 == 0]
        )
        rates = written(tmp_path / "lr.csv", "Wall time,Step,Value", *[f"17e8,{s},{0.1 - s / 4000}" for s in STEPS])
        (trace,) = of_csv(losses, rates=rates)
        assert trace.steps.tolist() == list(range(20, 201, 20))
        assert trace.losses[-1] == 2
        assert trace.rates == pytest.approx(0.1 - np.arange(200) / 4000)

    def test_of_wandb_have_a_column_for_each_run(self, tmp_path):
        names = [
            f"{run} - {metric}{end}" for run in ("a - b", "c") for metric in ("eval/nll",) for end in ("", "__MIN")
        ]
        header = ",".join(["Step", *(f'"{name}"' for name in names)])
        losses = written(tmp_path / "loss.csv", header, *[f"{s},{3 - s / 200},0,{4 - s / 200},0" for s in STEPS])
        header = '"trainer/global_step","c - lr-Adam","c - lr-Adam__MIN","a - b - lr-Adam"'
        rows = [f"{s},0.1,0.1,{0.1 - s / 4000}" for s in STEPS]
        rates = written(tmp_path / "lr.csv", header, *rows[:15], *[row.rpartition(",")[0] + "," for row in rows[15:]])
        with pytest.raises(ConfigError, match=r"run a - b: its rate is unknown for 60 of 200 steps"):
            of_csv(losses, rates=rates)
        rates = written(tmp_path / "lr.csv", header, *rows)
        traces = {trace.name: trace for trace in of_csv(losses, rates=rates)}
        assert traces["a - b"].losses[0] == 2.95  # at step 10
        assert traces["a - b"].rates[100] == pytest.approx(0.075)
        assert traces["c"].losses[0] == 3.95
        assert set(traces["c"].rates) == {0.1}

    def test_of_wandb_have_columns_of_steps_too(self, tmp_path):
        header = "trainer/global_step,a - _step,a - _step__MIN,a - val_loss,a - val_loss__MIN"
        losses = written(tmp_path / "loss.csv", header, *[f"{s},{s // 50},0,{3 - s / 200},0" for s in STEPS])
        rates = written(
            tmp_path / "lr.csv", header.replace("val_loss", "lr-Adam"), *[f"{s},{s // 50},0,0.1,0" for s in STEPS]
        )
        (trace,) = of_csv(losses, rates=rates)
        assert trace.steps.tolist() == list(STEPS)[1:]

    def test_of_wandb_by_a_step_of_ones_own(self, tmp_path):
        header = "trainer/my_step,a - val_loss,b - val_loss"
        losses = written(tmp_path / "loss.csv", header, *[f"{s},{3 - s / 200},{4 - s / 200}" for s in STEPS])
        rates = written(tmp_path / "lr.csv", header.replace("val_loss", "lr"), *[f"{s},0.1,0.2" for s in STEPS])
        traces = of_csv(losses, {"step": "trainer/my_step"}, rates=rates)
        assert [trace.name for trace in traces] == ["a", "b"]

    @pytest.mark.parametrize(
        ("losses", "rates", "message"),
        [
            ("step,loss", "step,lr,more", None),
            ("step,loss", "step,a,b", "lr.csv: must have a column for the rate, such as rate, lr"),
            ("Step,a - loss", "Step,b - lr", "lr.csv: has no rates of a, whose losses are in"),
            ("Step,a - loss", "step,lr", "lr.csv: must tell its runs apart as"),
            ("step,loss", "Step,b - lr", "lr.csv: must tell its runs apart as"),
            ("Step,a - loss,a - acc", "Step,a - lr", None),
            ("Step,a - x,a - y", "Step,a - lr", "loss.csv: must have a column for the loss, such as loss"),
        ],
    )
    def test_that_do_not_go_together(self, losses, rates, message, tmp_path):
        written(tmp_path / "loss.csv", losses, *[",".join([f"{s}", "2", "3"][: losses.count(",") + 1]) for s in STEPS])
        written(tmp_path / "lr.csv", rates, *[",".join([f"{s}", "0.1", "0.2"][: rates.count(",") + 1]) for s in STEPS])
        if message is None:
            assert of_csv(tmp_path / "loss.csv", rates=tmp_path / "lr.csv")[0].losses[0] == 2
            return
        with pytest.raises(ConfigError) as refused:
            of_csv(tmp_path / "loss.csv", rates=tmp_path / "lr.csv")
        assert message in str(refused.value)
        assert "\n" not in str(refused.value)

    def test_with_a_step_twice(self, tmp_path):
        losses = written(tmp_path / "loss.csv", "Step,a - loss", "0,2", "0,3")
        with pytest.raises(ConfigError, match=r"loss\.csv: must have one row for each step of a run"):
            of_csv(losses, rates=losses)
