"""What schedules cost: a million steps as one array, and the rate set at each step of a training."""

import statistics
from functools import partial

import numpy as np
import torch

from benchmarks.bench import Bench, table, timed
from lrdecay.adapters.rates import Rates
from lrdecay.schedules import Horizon, Schedule

SET = 20_000


def schedules(bench: Bench) -> None:
    """What schedules cost: a million steps as one array, and the rate set at each step of a training."""
    rows, found = [], {}
    for schedule in catalogue():
        name = type(schedule).__name__ + (" with everything" if schedule.momentum else "")
        array = statistics.median(timed(partial(evaluate, schedule)) for _ in range(bench.rounds))
        one = statistics.median(timed(partial(set_rates, schedule)) for _ in range(bench.rounds)) / SET
        found[name] = {"million_steps_ms": 1e3 * array, "set_at_a_step_us": 1e6 * one}
        rows.append([name, f"{1e3 * array:.0f}", f"{1e6 * one:.1f}"])
    bench.results["schedules"] = found
    table(f"Schedules, median of {bench.rounds} rounds", ["", "10⁶ steps, ms", "set at a step, µs"], rows)


def evaluate(schedule: Schedule) -> None:
    schedule.factor(np.arange(1_000_000), Horizon(1_000_000, 1000))


def set_rates(schedule: Schedule) -> None:
    """Sets rate, momentum and weight decay of an optimizer at each of `SET` steps."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    rates = Rates(torch.optim.AdamW([parameter], weight_decay=0.01), schedule, Horizon(SET, 1000))
    rates.optimizer.step()
    for number in range(SET):
        if rates.more_than_rates:
            rates.before_step(number)
        rates.scheduler.step()


def catalogue() -> list[Schedule]:
    """Every shape with its defaults, and one with all that can be placed around it."""
    from lrdecay import schedules as shapes

    classes = [value for value in vars(shapes).values() if isinstance(value, type) and issubclass(value, Schedule)]
    everything = shapes.Cosine(
        warmup="5%", warmup_curve="cosine", cooldown="20%", sample_every="0.3ep", momentum=(0.85, 0.95),
        weight_decay="constant",
    )  # fmt: skip
    return [*(cls() for cls in classes if cls is not Schedule), everything]
