import itertools
import random

import pytest
import torch

from lrdecay.errors import BadValue
from lrdecay.schedules import Greedy, Plateau, Scale

DRAWS = 40


def curve(rng: random.Random) -> list[float]:
    """A metric that falls for a while, stalls, jumps and repeats itself."""
    value, values = 1.0, []
    for _ in range(120):
        value *= rng.choice([0.9, 0.999, 0.99999, 1.0, 1.0, 1.05])
        values.append(round(value, rng.choice([2, 9])))
    return values


def ours(scale: Scale, metrics: list[float]) -> list[float]:
    values = []
    for metric in metrics:
        scale.read(metric)
        values.append(scale.value)
    return values


def theirs(make, metrics: list[float]) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    values = []
    for metric in metrics:
        scheduler.step(metric)
        values.append(optimizer.param_groups[0]["lr"])
    return values


def common(rng: random.Random) -> dict:
    return {
        "factor": rng.uniform(0.1, 0.95),
        "patience": rng.randint(0, 6),
        "threshold": rng.choice([0, 1e-4, 0.05]),
        "threshold_mode": rng.choice(["rel", "abs"]),
        "cooldown": rng.randint(0, 5),
    }


def direction(rng: random.Random) -> tuple[str, str, int]:
    """Our metric, their mode, and the sign of a curve that gets better."""
    return rng.choice([("val/loss", "min", 1), ("train/acc", "max", -1)])


def test_plateau_is_torchs():
    for draw in range(DRAWS):
        rng = random.Random(f"plateau {draw}")
        settings, minimum = common(rng), rng.choice([0, 0.01])
        metric, mode, sign = direction(rng)
        # torch's threshold of an accuracy is a part of it, so the curve is turned round above 0.
        metrics = [value if sign > 0 else 5 - value for value in curve(rng)]
        expected = theirs(
            lambda o, mode=mode, minimum=minimum, settings=settings: torch.optim.lr_scheduler.ReduceLROnPlateau(
                o, mode, min_lr=minimum, eps=0, **settings
            ),
            metrics,
        )
        assert ours(Plateau(metric=metric, minimum=minimum, **settings), metrics) == pytest.approx(expected, rel=1e-12)


def test_greedy_is_transformers():
    optimization = pytest.importorskip("transformers.optimization", reason="the oracles extra is not installed")
    reached = set()
    for draw in range(DRAWS):
        rng = random.Random(f"greedy {draw}")
        settings, warmup, window = common(rng), rng.randint(0, 5), rng.randint(1, 5)
        settings["patience"] = rng.randint(0, 2)
        # Equal means of several readings differ in the last bit by the order of their sum.
        settings["threshold"] = settings["threshold"] if window == 1 else 1e-3
        minimum, maximum, reset = rng.choice([0.5, 0.01]), rng.choice([1.5, 10]), rng.choice([1, 3, 500])
        metric, mode, sign = direction(rng)
        metrics = [value if sign > 0 else 5 - value for value in curve(rng)]

        def make(optimizer, mode=mode, settings=settings, values=(warmup, window, minimum, maximum, reset)):
            warmup, window, minimum, maximum, reset = values
            return optimization.GreedyLR(
                optimizer, mode, warmup=warmup, smooth=window > 1, window_size=window, min_lr=minimum, max_lr=maximum,
                eps=0, reset_start=reset, **settings,
            )  # fmt: skip

        scale = Greedy(
            metric=metric, warmup=warmup, window=window, minimum=minimum, maximum=maximum, reset_after=reset, **settings
        )
        values = ours(scale, metrics)
        assert values == pytest.approx(theirs(make, metrics), rel=1e-9)
        reached |= {"up"} if max(values) > 1 else set()
        reached |= {"floor"} if min(values) == minimum else set()
        reached |= {"reset"} if any(a == minimum and b == 1 for a, b in itertools.pairwise(values)) else set()
    assert reached == {"up", "floor", "reset"}


def test_a_loss_that_is_no_number_counts_as_bad():
    scale = Plateau(patience=0)
    assert ours(scale, [float("nan"), 0.5, float("nan")]) == pytest.approx([0.1, 0.1, 0.01])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("metric", value) for value in ("f1", "val/f1", None)],
        *[("factor", value) for value in (0, 1, 1.5, -0.1, "x", float("nan"))],
        *[("patience", value) for value in (-1, 1.5, True)],
        *[("threshold", value) for value in (-1, "x")],
        *[("threshold_mode", value) for value in ("relative", None)],
        *[("cooldown", value) for value in (-1, "1")],
        *[("minimum", value) for value in (-0.1, 1.1)],
    ],
)
@pytest.mark.parametrize("cls", [Plateau, Greedy])
def test_refuses_by_name_what_is_out_of_range(cls, key, value):
    with pytest.raises(BadValue, match=f"^{key}={value}: must be "):
        cls(**{key: value})


@pytest.mark.parametrize(("key", "value"), [("warmup", -1), ("window", 0), ("maximum", 0.9), ("reset_after", 0)])
def test_greedy_refuses_what_only_it_has(key, value):
    with pytest.raises(BadValue, match=f"^{key}={value}: must be "):
        Greedy(**{key: value})


def test_the_ends_of_its_ranges_are_allowed():
    scale = Greedy(maximum=1, minimum=1, patience=0, window=1, reset_after=1, warmup=0, cooldown=0, threshold=0)
    assert ours(scale, [0.5, 0.4, 0.6]) == [1, 1, 1]


def test_its_state_is_plain_values():
    scale = Greedy(window=3)
    ours(scale, [0.5, 0.4, 0.6])
    state = scale.state()
    assert state["value"] == scale.value
    assert state["readings"] == [0.5, 0.4, 0.6]
    assert "factor" not in state
