import re

import pytest

from lrdecay.errors import BadValue
from lrdecay.schedules import Cosine, Duration, Horizon, MultiStep, Step

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
    "given",
    [
        -1,
        "-1ep",
        "120%",
        "ep",
        "",
        "5 %%",
        "10 epochs",
        float("nan"),
        float("inf"),
        True,
        None,
        [3],
        "1e-3",
        "5_",
        "3 weeks",
    ],
)  # fmt: skip
def test_refuses_what_is_no_duration_and_names_the_key(given):
    with pytest.raises(ValueError, match=r"^hold="):
        Duration.parse(given, "hold")


@pytest.mark.parametrize(("value", "unit"), [(-5, "ep"), (float("nan"), "steps"), (0.5, "steps"), (101, "%"), (1, "w")])
def test_is_validated_when_made(value, unit):
    with pytest.raises(ValueError, match=r"^duration="):
        Duration(value, unit)


@pytest.mark.parametrize(("total", "per_epoch"), [(0, 1), (1, 0), (1.5, 1), (-1, 1), (True, 1)])
def test_a_horizon_has_at_least_a_step(total, per_epoch):
    with pytest.raises(ValueError, match="at least 1"):
        Horizon(total, per_epoch)


@pytest.mark.parametrize("text", ["300", "10ep", "5%", "0.5ep", "50000samples", "30min"])
def test_prints_as_it_is_written(text):
    assert str(Duration.parse(text)) == text


KNOWN = Horizon(1500, 75, samples_per_step=64, tokens_per_step=2048, seconds_per_step=0.25)


@pytest.mark.parametrize(
    ("given", "steps"),
    [
        ("6_400samples", 100), ("100samples", 2), ("1e6tokens", 488), ("2_048tokens", 1), ("90s", 360), ("1.5min", 360),
        ("0.1h", 1440),
    ],
)  # fmt: skip
def test_in_samples_tokens_and_time(given, steps):
    assert Duration.parse(given).steps(KNOWN) == steps


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ("1ep", "steps_per_epoch"),
        ("64samples", "samples_per_step"),
        ("9tokens", "tokens_per_step"),
        ("5min", "seconds"),
    ],
)
def test_what_the_horizon_does_not_know_is_said(given, missing):
    allowed = f"must be in another unit, where the horizon has no {missing}"
    with pytest.raises(BadValue, match=f"^warmup={given}: {allowed}"):
        Cosine(warmup=given).over(Horizon(100))
    with pytest.raises(BadValue, match=f"^milestones={given}: {allowed}"):
        MultiStep(milestones=[given]).over(Horizon(100))


@pytest.mark.parametrize("key", ["samples_per_step", "tokens_per_step", "seconds_per_step", "stretch"])
@pytest.mark.parametrize("value", [0, -1, "a", float("nan")])
def test_what_a_horizon_cannot_have(key, value):
    with pytest.raises(BadValue, match=rf"^{key}={value}: must be a"):
        Horizon(100, **{key: value})


def test_a_stretched_run_is_the_same_run_at_another_pace():
    """All but how often the rate changes, and percentages, which are stretched as the run is."""
    schedule = Step(every="2ep", gamma=0.5, warmup=10, hold="5%")
    long, short = Horizon(200, 20), Horizon(100, 20, stretch=0.5)
    assert schedule.factor(range(0, 200, 2), long).tolist() == schedule.factor(range(100), short).tolist()
    sampled = Cosine(sample_every="1ep").factor(range(100), short)
    assert len(set(sampled)) == 5


def test_a_horizon_shows_what_it_knows():
    assert repr(Horizon(100)) == "Horizon(total_steps=100)"
    assert re.fullmatch(r"Horizon\(total_steps=1500, .*seconds_per_step=0.25\)", repr(KNOWN))
