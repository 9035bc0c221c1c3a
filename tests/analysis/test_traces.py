"""Rates and losses from records."""

import pytest
from support.records import a_run

from lrdecay.analysis.traces import of_records
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
            ([], "needs runs that completed as planned; none of 0 did"),
            ([recorded(status="failed")], "none of 1 did"),
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
