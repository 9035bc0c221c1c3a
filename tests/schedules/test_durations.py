import pytest

from lrdecay.schedules import Duration, Horizon

HORIZON = Horizon(total_steps=1500, steps_per_epoch=75)


@pytest.mark.parametrize(
    ("given", "steps"),
    [
        (0, 0), (300, 300), ("300", 300), (300.0, 300), ("10ep", 750), ("10 ep", 750), ("0.5ep", 38), (".5ep", 38),
        ("5%", 75), ("0.1%", 2), ("100%", 1500), ("33.3%", 500), ("0ep", 0),
    ],
)  # fmt: skip
def test_becomes_steps_of_the_run(given, steps):
    assert Duration.parse(given).steps(HORIZON) == steps


@pytest.mark.parametrize("given", [0.1, "0.1", 1.0, 2.5])
def test_a_bare_fraction_is_ambiguous(given):
    with pytest.raises(ValueError, match="ambiguous"):
        Duration.parse(given)


def test_the_remedy_for_a_fraction_is_the_percentage_meant():
    with pytest.raises(ValueError, match=r"^warmup=0\.07 is ambiguous: write 7% or a number of steps$"):
        Duration.parse(0.07, "warmup")


@pytest.mark.parametrize(
    "given", [-1, "-1ep", "120%", "ep", "", "5 %%", "10 epochs", float("nan"), float("inf"), True, None, [3], "1e3"]
)
def test_refuses_what_is_no_duration_and_names_the_key(given):
    with pytest.raises(ValueError, match=r"^hold="):
        Duration.parse(given, "hold")


@pytest.mark.parametrize(("value", "unit"), [(-5, "ep"), (float("nan"), "steps"), (0.5, "steps"), (101, "%"), (1, "h")])
def test_is_validated_when_made(value, unit):
    with pytest.raises(ValueError, match=r"^duration="):
        Duration(value, unit)


@pytest.mark.parametrize(("total", "per_epoch"), [(0, 1), (1, 0), (1.5, 1), (-1, 1), (True, 1)])
def test_a_horizon_has_at_least_a_step(total, per_epoch):
    with pytest.raises(ValueError, match="at least 1"):
        Horizon(total, per_epoch)


@pytest.mark.parametrize("text", ["300", "10ep", "5%", "0.5ep"])
def test_prints_as_it_is_written(text):
    assert str(Duration.parse(text)) == text
