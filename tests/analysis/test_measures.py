import math

import pytest
from support.records import a_run

from lrdecay.analysis.measures import MEASURES, measures
from lrdecay.records.record import Record


def run_with(val_loss=(), val_acc=(), train_loss=(), std=(), **more) -> Record:
    """A completed run with these curves."""
    run = a_run()
    length = max(map(len, (val_loss, val_acc, train_loss, std)))
    curves = {"val/loss": val_loss, "val/acc": val_acc, "train/loss": train_loss, "train/loss_std": std}
    run.progress.epochs = [
        {"epoch": e, **{key: c[e] for key, c in curves.items() if e < len(c)}} for e in range(length)
    ]
    run.outcome.final = {key: curve[-1] for key, curve in curves.items() if curve}
    for key, value in more.items():
        setattr(run.outcome if key == "status" else run.progress, key, value)
    return run


def measured(name: str, run: Record, **targets: float) -> float:
    return MEASURES[name].of(run, {f"val/{key}": value for key, value in targets.items()})


LOSSES = (0.9, 0.5, 0.3, 0.4, 0.2, 0.6)


class TestCurves:
    def test_best_and_final(self):
        run = run_with(LOSSES, val_acc=(0.5, 0.9, 0.8))
        assert measured("val/loss", run) == 0.6
        assert measured("best val/loss", run) == 0.2
        assert measured("best val/acc", run) == 0.9
        assert math.isnan(measured("test/acc", run))

    def test_epochs_to_the_baselines_end(self):
        run = run_with(LOSSES, val_acc=(0.5, 0.9, 0.8))
        assert measured("epochs to val/loss", run, loss=0.45) == 3
        assert measured("epochs to val/loss", run, loss=0.9) == 1
        assert measured("epochs to val/acc", run, acc=0.9) == 2
        assert measured("epochs to val/loss", run, loss=0.1) == 7  # never, in six epochs
        assert math.isnan(measured("epochs to val/loss", run))  # no baseline

    def test_a_short_run_that_does_not_get_there_is_not_fast(self):
        assert MEASURES["epochs to val/loss"].of(run_with(LOSSES), {"val/loss": 0.1, "epochs": 20}) == 21

    def test_midway_is_after_half_of_the_epochs(self):
        run = run_with(LOSSES, val_acc=(0.5, 0.9, 0.8))
        assert measured("val/loss midway", run) == 0.3
        assert measured("val/acc midway", run) == 0.8  # the third of six
        assert measured("val/loss midway", run_with((0.5, 0.4, 0.3))) == 0.5
        assert math.isnan(measured("val/loss midway", run_with((0.5,))))

    def test_area_is_an_epoch_wide(self):
        assert measured("mean val/loss", run_with(LOSSES)) == pytest.approx(sum(LOSSES) / 6)

    def test_overfitting(self):
        run = run_with(LOSSES, train_loss=(0.8, 0.4, 0.2, 0.1, 0.05, 0.01))
        assert measured("val/loss gap", run) == pytest.approx(0.59)
        assert measured("val/loss rise", run) == pytest.approx(0.4)

    def test_stability_is_that_of_the_last_half(self):
        run = run_with(LOSSES, std=(9, 9, 9, 0.3, 0.1, 0.2))
        assert measured("val/loss variation", run) == pytest.approx((0.2 + 0.4) / 2)
        assert measured("train/loss std", run) == pytest.approx(0.2)

    def test_epochs_that_were_not_validated_are_left_out(self):
        run = run_with((0.9, None, 0.5, None, 0.4, 0.2))
        assert measured("mean val/loss", run) == pytest.approx(0.5)
        assert measured("best val/loss", run) == 0.2
        assert measured("val/loss variation", run) == pytest.approx(0.2)
        assert measured("epochs to val/loss", run, loss=0.5) == 3

    def test_midway_is_the_last_validation_until_then(self):
        run = run_with((0.9, 0.7, 0.6, 0.5, 0.6, 0.4))
        del run.progress.epochs[2]["val/loss"]
        assert measured("val/loss midway", run) == 0.7
        assert math.isnan(measured("val/loss midway", run_with((0.9, 0.7, math.nan, 0.5, 0.6, 0.4))))

    def test_a_loss_that_was_not_finite_has_no_area_and_no_variation(self):
        run = run_with((0.9, 0.5, None, 0.3), divergence={"step": 5})
        assert math.isnan(measured("mean val/loss", run))
        assert math.isnan(measured("val/loss variation", run))
        assert measured("val/loss", run) == 0.3


@pytest.mark.parametrize("run", [run_with(), run_with((None, None)), run_with((0.5,))], ids=["no", "nan", "one epoch"])
def test_nothing_is_made_up(run):
    for name, value in measures(run, {}).items():
        known = name in ("val/loss", "best val/loss", "mean val/loss", "val/loss rise") and run.outcome.final.get(
            "val/loss"
        )
        assert math.isfinite(value) is bool(known), name


def test_a_run_that_did_not_complete_has_none():
    assert all(math.isnan(value) for value in measures(run_with(LOSSES, status="diverged"), {}).values())


@pytest.mark.parametrize(
    ("name", "value", "text", "difference"),
    [
        ("test/acc", 0.98765, "98.77%", "+98.77"),
        ("val/loss", 0.06214, "0.0621", "+0.0621"),
        ("epochs to val/acc", 3.25, "3.2", "+3.2"),
        ("val/loss gap", -0.0096, "−0.0096", "−0.0096"),
        ("val/loss gap", -0.00001, "0.0000", "+0.0000"),
        ("val/loss", math.nan, "–", "–"),
    ],
)
def test_are_written_as_people_read_them(name, value, text, difference):
    assert MEASURES[name].text(value) == text
    assert MEASURES[name].difference(value) == difference
