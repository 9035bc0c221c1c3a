"""Every schedule against implementations that other people wrote, run for real.

Each row draws 200 random sets of parameters; ours and theirs are compared at every step of a short run, the first, the
last, and those beside every milestone among them. Where a convention differs on purpose the row is the exact
relation between the two.
"""

import inspect
import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from numpy.testing import assert_allclose
from scipy import interpolate
from support.oracles import ROWS, Pair, row, run
from support.programs import ROOT

from lrdecay import schedules
from lrdecay.config.compose import compose_all
from lrdecay.schedules import (
    Constant,
    Cosine,
    CosineRestarts,
    Cyclic,
    Exponential,
    Horizon,
    InverseSqrt,
    InverseTime,
    Join,
    MultiStep,
    Piecewise,
    Polynomial,
    Power,
    Rex,
    Schedule,
    Spline,
    Step,
    Table,
    Tanh,
)

DRAWS = 40


# torch ------------------------------------------------------------------------------------------------------------


def torch_run(make: Callable, steps: int, momentum: bool = False) -> np.ndarray:
    """What a torch scheduler sets at steps 0, 1, … for an initial rate of 1: the rate, or the momentum."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    scheduler = make(optimizer)
    values = []
    for _ in range(steps):
        values.append(optimizer.param_groups[0]["momentum" if momentum else "lr"])
        optimizer.step()
        scheduler.step()
    return np.array(values)


lr_scheduler = torch.optim.lr_scheduler


@row("torch StepLR")
def _(rng):
    every, gamma, total = rng.randint(1, 20), rng.uniform(0.05, 1), rng.randint(2, 60)
    ours = Step(every=every, gamma=gamma)
    return Pair(run(ours, total), torch_run(lambda o: lr_scheduler.StepLR(o, every, gamma), total + 1), ours)


@row("torch MultiStepLR")
def _(rng):
    total, gamma = rng.randint(5, 60), rng.uniform(0.05, 1)
    milestones = sorted(rng.sample(range(1, total), rng.randint(1, 4)))
    ours = MultiStep(milestones=milestones, gamma=gamma)
    return Pair(run(ours, total), torch_run(lambda o: lr_scheduler.MultiStepLR(o, milestones, gamma), total + 1), ours)


@row("torch ConstantLR")
def _(rng):
    total, factor = rng.randint(5, 60), rng.uniform(0, 1)
    until = rng.randint(1, total)
    ours = Piecewise(points=[[0, factor], [until, 1]], curve="constant")
    return Pair(run(ours, total), torch_run(lambda o: lr_scheduler.ConstantLR(o, factor, until), total + 1), ours)


@row("torch LinearLR")
def _(rng):
    total, low, high = rng.randint(5, 60), rng.uniform(0.01, 1), rng.uniform(0, 1)
    until = rng.randint(1, total)
    ours = Piecewise(points=[[0, low], [until, high]])
    return Pair(run(ours, total), torch_run(lambda o: lr_scheduler.LinearLR(o, low, high, until), total + 1), ours)


@row("torch LinearLR as a warm-up")
def _(rng):
    total, low = rng.randint(5, 60), rng.uniform(0.01, 1)
    until = rng.randint(1, total)
    ours = Constant(warmup=until, warmup_from=low)
    return Pair(run(ours, total), torch_run(lambda o: lr_scheduler.LinearLR(o, low, 1, until), total + 1), ours)


@row("torch ExponentialLR")
def _(rng):
    total, gamma = rng.randint(5, 60), rng.uniform(0.5, 1)
    ours = Exponential(rate=-math.log(gamma), per=1)
    return Pair(run(ours, total), torch_run(lambda o: lr_scheduler.ExponentialLR(o, gamma), total + 1), ours)


@row("torch PolynomialLR")
def _(rng):
    total, power = rng.randint(2, 60), rng.uniform(0.3, 4)
    ours = Polynomial(power=power)
    make = lambda o: lr_scheduler.PolynomialLR(o, total, power)
    return Pair(run(ours, total), torch_run(make, total + 1), ours)


@row("torch CosineAnnealingLR, which rises past its end")
def _(rng):
    total, floor = rng.randint(2, 60), rng.uniform(0.01, 1)
    ours = Cosine(final=floor)
    theirs = torch_run(lambda o: lr_scheduler.CosineAnnealingLR(o, total, floor), total + 2)
    assert theirs[-1] > theirs[-2] * (1 - 1e-12)
    assert run(ours, total, steps=total + 2)[-1] == run(ours, total)[-1]
    return Pair(run(ours, total), theirs[:-1], ours)


@row("torch CosineAnnealingWarmRestarts")
def _(rng):
    cycles, factor, first = rng.randint(1, 4), rng.randint(1, 3), rng.randint(2, 12)
    total = first * sum(factor**i for i in range(cycles))
    floor = rng.uniform(0.01, 0.9)
    ours = CosineRestarts(cycles=cycles, length_factor=factor, final=floor)
    make = lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, first, factor, floor)
    # At the end of the run it begins another cycle; ours ends at the floor.
    return Pair(run(ours, total, steps=total), torch_run(make, total), ours)


def cyclic(rng, mode):
    up, down, cycles = rng.randint(1, 12), rng.randint(1, 12), rng.randint(1, 4)
    base, gamma = rng.uniform(0.01, 0.9), rng.uniform(0.9, 1)
    total = up + cycles * (up + down)
    ours = Cyclic(
        up=up, down=down, mode=mode, gamma=gamma, warmup=up, warmup_from=base, final=base, momentum=(0.7, 0.9)
    )

    def make(optimizer):
        return lr_scheduler.CyclicLR(optimizer, base, 1.0, up, down, mode, gamma, base_momentum=0.7, max_momentum=0.9)

    return ours, make, total


@row("torch CyclicLR triangular")
def _(rng):
    ours, make, total = cyclic(rng, "triangular")
    return Pair(run(ours, total), torch_run(make, total + 1), ours)


@row("torch CyclicLR triangular2")
def _(rng):
    ours, make, total = cyclic(rng, "triangular2")
    return Pair(run(ours, total), torch_run(make, total + 1), ours)


@row("torch CyclicLR triangular2, momentum")
def _(rng):
    ours, make, total = cyclic(rng, "triangular2")
    steps = np.arange(total + 1)
    return Pair(ours.momentum_at(steps, Horizon(total, 1)), torch_run(make, total + 1, momentum=True), ours)


@row("torch CyclicLR exp_range, whose amplitude falls during the first way up too")
def _(rng):
    ours, make, total = cyclic(rng, "exp_range")
    theirs = torch_run(make, total + 1)
    amplitude = theirs - ours.final
    amplitude[: ours.warmup] /= ours.gamma ** np.arange(ours.warmup)
    amplitude[ours.warmup :] /= ours.gamma**ours.warmup
    return Pair(run(ours, total), ours.final + amplitude, ours)


def one_cycle(rng, strategy):
    """torch's peak is at step pct_start·T' − 1 and its end at T' − 1: a run of T' − 1 steps, warm-up a step less."""
    theirs_total = rng.choice([20, 40, 60])
    peak = rng.randint(2, theirs_total - 2)
    div, final_div = rng.uniform(2, 50), rng.uniform(2, 1e4)
    ours = (Cosine if strategy == "cos" else Polynomial)(
        warmup=peak - 1, warmup_from=1 / div, warmup_curve={"cos": "cosine", "linear": "linear"}[strategy],
        final=1 / (div * final_div), momentum=(0.85, 0.95),
    )  # fmt: skip

    def make(optimizer):
        return lr_scheduler.OneCycleLR(
            optimizer, 1.0, total_steps=theirs_total, pct_start=peak / theirs_total, anneal_strategy=strategy,
            div_factor=div, final_div_factor=final_div,
        )  # fmt: skip

    return ours, make, theirs_total


@row("torch OneCycleLR, one step early")
def _(rng):
    ours, make, total = one_cycle(rng, "cos")
    return Pair(run(ours, total - 1), torch_run(make, total), ours)


@row("torch OneCycleLR, momentum")
def _(rng):
    ours, make, total = one_cycle(rng, "cos")
    return Pair(ours.momentum_at(np.arange(total), Horizon(total - 1, 1)), torch_run(make, total, momentum=True), ours)


@row("torch OneCycleLR linear, one step early")
def _(rng):
    ours, make, total = one_cycle(rng, "linear")
    return Pair(run(ours, total - 1), torch_run(make, total), ours)


@row("torch SequentialLR of warm-up and cosine")
def _(rng):
    total, low = rng.randint(10, 60), rng.uniform(0.01, 1)
    warmup = rng.randint(1, total - 2)

    def make(optimizer):
        rise = lr_scheduler.LinearLR(optimizer, low, 1, warmup)
        fall = lr_scheduler.CosineAnnealingLR(optimizer, total - warmup)
        return lr_scheduler.SequentialLR(optimizer, [rise, fall], [warmup])

    ours = Cosine(warmup=warmup, warmup_from=low)
    return Pair(run(ours, total), torch_run(make, total + 1), ours)


# optax ------------------------------------------------------------------------------------------------------------


def optax_run(make: Callable, steps: int) -> np.ndarray:
    """What an optax schedule gives at steps 0, 1, …, in float64."""
    optax = pytest.importorskip("optax", reason="the oracles extra is not installed")
    import jax

    with jax.enable_x64(True):
        # As many steps each time, so that nothing is compiled anew.
        return np.asarray(jax.vmap(make(optax))(jax.numpy.arange(1024)))[:steps]


@row("optax piecewise_constant_schedule, whose scales multiply up")
def _(rng):
    total = rng.randint(5, 60)
    bounds, scales = sorted(rng.sample(range(1, total), 3)), [rng.uniform(0, 2) for _ in range(3)]
    ours = Piecewise(points=list(zip(bounds, np.cumprod(scales).tolist(), strict=True)), curve="constant")
    make = lambda optax: optax.piecewise_constant_schedule(1.0, dict(zip(bounds, scales, strict=True)))
    return Pair(run(ours, total), optax_run(make, total + 1), ours)


@row("optax piecewise_constant_schedule with one scale")
def _(rng):
    total, gamma = rng.randint(5, 60), rng.uniform(0.05, 1)
    bounds = sorted(rng.sample(range(1, total), 3))
    ours = MultiStep(milestones=bounds, gamma=gamma)
    make = lambda optax: optax.piecewise_constant_schedule(1.0, dict.fromkeys(bounds, gamma))
    return Pair(run(ours, total), optax_run(make, total + 1), ours)


def interpolated(rng, curve):
    total = rng.randint(5, 60)
    bounds, scales = sorted(rng.sample(range(1, total + 1), 3)), [rng.uniform(0.01, 2) for _ in range(3)]
    ours = Piecewise(points=list(zip(bounds, np.cumprod(scales).tolist(), strict=True)), curve=curve)
    given = dict(zip(bounds, scales, strict=True))
    make = lambda optax: optax.piecewise_interpolate_schedule(curve, 1.0, given)
    return Pair(run(ours, total), optax_run(make, total + 1), ours)


@row("optax piecewise_interpolate_schedule linear")
def _(rng):
    return interpolated(rng, "linear")


@row("optax piecewise_interpolate_schedule cosine")
def _(rng):
    return interpolated(rng, "cosine")


@row("optax polynomial_schedule, with a hold")
def _(rng):
    total, power, floor = rng.randint(5, 60), rng.uniform(0.3, 4), rng.uniform(0.01, 1)
    hold = rng.randint(0, total - 1)
    ours = Polynomial(power=power, final=floor, hold=hold)
    make = lambda optax: optax.polynomial_schedule(1.0, floor, power, total - hold, hold)
    return Pair(run(ours, total), optax_run(make, total + 1), ours)


@row("optax exponential_decay, with a hold")
def _(rng):
    total, rate, per = rng.randint(5, 60), rng.uniform(0.1, 0.99), rng.randint(1, 20)
    hold = rng.randint(0, total)
    ours = Exponential(rate=-math.log(rate), per=per, hold=hold)
    make = lambda optax: optax.exponential_decay(1.0, per, rate, hold)
    return Pair(run(ours, total), optax_run(make, total + 1), ours)


@row("optax exponential_decay staircase")
def _(rng):
    total, rate, per = rng.randint(5, 60), rng.uniform(0.1, 0.99), rng.randint(1, 20)
    ours = Step(gamma=rate, every=per)
    make = lambda optax: optax.exponential_decay(1.0, per, rate, staircase=True)
    return Pair(run(ours, total), optax_run(make, total + 1), ours)


@row("optax cosine_decay_schedule with an exponent")
def _(rng):
    total, power, floor = rng.randint(5, 60), rng.uniform(0.3, 4), rng.uniform(0.01, 1)
    ours = Cosine(power=power, final=floor)
    make = lambda optax: optax.cosine_decay_schedule(1.0, total, floor, power)
    return Pair(run(ours, total, steps=total + 5), optax_run(make, total + 5), ours)


@row("optax warmup_cosine_decay_schedule")
def _(rng):
    total, start, floor = rng.randint(5, 60), rng.uniform(0, 1), rng.uniform(0.01, 1)
    warmup = rng.randint(1, total - 1)
    ours = Cosine(warmup=warmup, warmup_from=start, final=floor)
    make = lambda optax: optax.warmup_cosine_decay_schedule(start, 1.0, warmup, total, floor)
    return Pair(run(ours, total, steps=total + 5), optax_run(make, total + 5), ours)


@row("optax cosine_onecycle_schedule")
def _(rng):
    total, div, final_div = rng.choice([20, 40, 60]), rng.uniform(2, 50), rng.uniform(2, 1e4)
    peak = rng.randint(1, total - 1)
    ours = Cosine(warmup=peak, warmup_from=1 / div, warmup_curve="cosine", final=1 / (div * final_div))
    share = (peak + 0.5) / total  # half a step more, for its int() rounds down
    make = lambda optax: optax.cosine_onecycle_schedule(total, 1.0, share, div, final_div)
    return Pair(run(ours, total), optax_run(make, total + 1), ours)


@row("optax linear_onecycle_schedule")
def _(rng):
    total, div, final_div = rng.choice([20, 40, 60]), rng.uniform(2, 50), rng.uniform(2, 1e4)
    peak, back = sorted(rng.sample(range(1, total), 2))
    ours = Piecewise(points=[[0, 1 / div], [peak, 1], [back, 1 / div], [total, 1 / (div * final_div)]])
    shares = (peak + 0.5) / total, (back + 0.5) / total
    make = lambda optax: optax.linear_onecycle_schedule(total, 1.0, *shares, div, final_div)
    return Pair(run(ours, total), optax_run(make, total + 1), ours)


@row("optax sgdr_schedule")
def _(rng):
    cycles, factor, first = rng.randint(1, 4), rng.randint(1, 3), rng.randint(2, 12)
    lengths, peak = [first * factor**i for i in range(cycles)], rng.uniform(0.3, 1)
    ours = CosineRestarts(cycles=cycles, length_factor=factor, peak_factor=peak)

    def make(optax):
        parts = [
            {"init_value": peak**i, "peak_value": peak**i, "decay_steps": length, "warmup_steps": 0}
            for i, length in enumerate(lengths)
        ]
        return optax.sgdr_schedule(parts)

    return Pair(run(ours, sum(lengths)), optax_run(make, sum(lengths) + 1), ours)


def joined(rng, curve):
    """After a warm-up of theirs, whose boundaries then count from its end; ours count from the start of the run."""
    total, warmup = rng.randint(20, 60), rng.randint(1, 10)
    bounds, scales = sorted(rng.sample(range(1, total - warmup), 3)), [rng.uniform(0.01, 1) for _ in range(3)]
    first = rng.choice([1.0, 0.5])  # a first point at the end of the warm-up, or none
    points = [(warmup + bound, first * scale) for bound, scale in zip(bounds, np.cumprod(scales).tolist(), strict=True)]
    points = points if first == 1 else [(warmup, first), *points]
    ours = Piecewise(warmup=warmup, points=points, curve=curve)
    given = dict(zip(bounds, scales, strict=True))

    def make(optax):
        steps = optax.piecewise_constant_schedule(first, given)
        lines = optax.piecewise_interpolate_schedule("linear", first, given)
        rise = optax.linear_schedule(0.0, 1.0, warmup)
        return optax.join_schedules([rise, steps if curve == "constant" else lines], [warmup])

    return Pair(run(ours, total), optax_run(make, total + 1), ours)


@row("optax join_schedules of a warm-up and piecewise_constant_schedule")
def _(rng):
    return joined(rng, "constant")


@row("optax join_schedules of a warm-up and piecewise_interpolate_schedule")
def _(rng):
    return joined(rng, "linear")


@row("optax join_schedules of a warm-up and equal drops")
def _(rng):
    total, warmup, gamma = rng.randint(20, 60), rng.randint(1, 10), rng.uniform(0.05, 1)
    bounds = sorted(rng.sample(range(1, total - warmup), 3))
    ours = MultiStep(warmup=warmup, milestones=[warmup + bound for bound in bounds], gamma=gamma)

    def make(optax):
        drops = optax.piecewise_constant_schedule(1.0, dict.fromkeys(bounds, gamma))
        return optax.join_schedules([optax.linear_schedule(0.0, 1.0, warmup), drops], [warmup])

    return Pair(run(ours, total), optax_run(make, total + 1), ours)


@row("optax join_schedules of any two")
def _(rng):
    total, at, floor = rng.randint(20, 60), rng.randint(5, 15), rng.uniform(0.1, 0.9)
    continuous = rng.choice([True, False])
    ours = Join(first=Polynomial(final=floor), second=Cosine(), at=at, continuous=continuous)

    def make(optax):
        fall = optax.linear_schedule(1.0, floor, at)
        return optax.join_schedules([fall, optax.cosine_decay_schedule(floor if continuous else 1.0, total - at)], [at])

    return Pair(run(ours, total), optax_run(make, total + 1), ours)


# scipy and numpy --------------------------------------------------------------------------------------------------


def free_points(rng) -> tuple[list[list[float]], int]:
    """Points from 0 to 1 in any order of heights, and the length of a run."""
    inner = sorted(rng.sample(range(1, 100), rng.randint(0, 6)))
    return [[place / 100, rng.choice([0.0, 0.5, rng.random(), 2.0])] for place in (0, *inner, 100)], rng.randint(2, 60)


@row("scipy PchipInterpolator")
def _(rng):
    points, total = free_points(rng)
    ours = Table(points=points, between="monotone")
    theirs = interpolate.PchipInterpolator(*zip(*points, strict=True))
    return Pair(run(ours, total), theirs(np.arange(total + 1) / total), ours)


@row("scipy PchipInterpolator through three heights that are ratios")
def _(rng):
    ratios, total = [rng.choice([0.0, 1.0, rng.random()]) for _ in range(3)], rng.randint(2, 60)
    ours = Spline(quarter=ratios[0], half=ratios[1], three_quarters=ratios[2])
    heights = [1, ratios[0], ratios[0] * ratios[1], ratios[0] * ratios[1] * ratios[2], 0]
    theirs = interpolate.PchipInterpolator([0, 0.25, 0.5, 0.75, 1], heights)
    return Pair(run(ours, total), theirs(np.arange(total + 1) / total), ours)


@row("numpy interp")
def _(rng):
    points, total = free_points(rng)
    ours = Table(points=points)
    return Pair(run(ours, total), np.interp(np.arange(total + 1) / total, *zip(*points, strict=True)), ours)


@row("a formula as Python has it")
def _(rng):
    total, a, b = rng.randint(2, 60), rng.uniform(0.5, 3), rng.uniform(0.1, 0.9)
    ours = Table(expression=f"max(0, cos(pi*p/2))**{a!r} if p <= {b!r} else 0.1*exp(-p % {a!r})")
    theirs = [
        max(0, math.cos(math.pi * p / 2)) ** a if p <= b else 0.1 * math.exp(-p % a)
        for p in (step / total for step in range(total + 1))
    ]
    return Pair(run(ours, total), np.array(theirs), ours)


# Keras ------------------------------------------------------------------------------------------------------------


def keras_run(make: Callable, steps: int) -> np.ndarray:
    """What a Keras schedule gives at steps 0, 1, …, in float64 on the torch backend."""
    keras = pytest.importorskip("keras", reason="the oracles extra is not installed")
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    try:
        schedule = make(keras.optimizers.schedules)
        return np.array([float(schedule(step)) for step in range(steps)])
    finally:
        keras.config.set_floatx(before)


@row("keras ExponentialDecay")
def _(rng):
    total, rate, per = rng.randint(5, 60), rng.uniform(0.1, 0.99), rng.randint(1, 20)
    ours = Exponential(rate=-math.log(rate), per=per)
    return Pair(run(ours, total), keras_run(lambda s: s.ExponentialDecay(1.0, per, rate), total + 1), ours)


@row("keras ExponentialDecay staircase")
def _(rng):
    total, rate, per = rng.randint(5, 60), rng.uniform(0.1, 0.99), rng.randint(1, 20)
    ours = Exponential(rate=-math.log(rate), per=per, sample_every=per)
    return Pair(run(ours, total), keras_run(lambda s: s.ExponentialDecay(1.0, per, rate, True), total + 1), ours)


@row("keras PiecewiseConstantDecay, one step late")
def _(rng):
    total, factors = rng.randint(5, 60), [rng.uniform(0, 1) for _ in range(3)]
    bounds = sorted(rng.sample(range(1, total), 3))
    ours = Piecewise(points=list(zip(bounds, factors, strict=True)), curve="constant")
    theirs = keras_run(lambda s: s.PiecewiseConstantDecay(bounds, [1.0, *factors]), total + 2)
    return Pair(run(ours, total), theirs[1:], ours)


@row("keras PolynomialDecay")
def _(rng):
    total, power, floor = rng.randint(5, 60), rng.uniform(0.3, 4), rng.uniform(0.01, 1)
    ours = Polynomial(power=power, final=floor)
    make = lambda s: s.PolynomialDecay(1.0, total, floor, power)
    return Pair(run(ours, total, steps=total + 5), keras_run(make, total + 5), ours)


@row("keras InverseTimeDecay")
def _(rng):
    total, rate, per = rng.randint(5, 60), rng.uniform(0, 3), rng.randint(1, 20)
    ours = InverseTime(rate=rate, per=per)
    return Pair(run(ours, total), keras_run(lambda s: s.InverseTimeDecay(1.0, per, rate), total + 1), ours)


@row("keras InverseTimeDecay staircase")
def _(rng):
    total, rate, per = rng.randint(5, 60), rng.uniform(0, 3), rng.randint(1, 20)
    ours = InverseTime(rate=rate, per=per, sample_every=per)
    return Pair(run(ours, total), keras_run(lambda s: s.InverseTimeDecay(1.0, per, rate, True), total + 1), ours)


@row("keras CosineDecay with a warm-up")
def _(rng):
    total, start, floor = rng.randint(5, 60), rng.uniform(0, 1), rng.uniform(0.01, 1)
    warmup = rng.randint(1, total - 1)
    ours = Cosine(warmup=warmup, warmup_from=start, final=floor)
    make = lambda s: s.CosineDecay(start, total - warmup, floor, warmup_target=1.0, warmup_steps=warmup)
    return Pair(run(ours, total, steps=total + 5), keras_run(make, total + 5), ours)


@row("keras CosineDecayRestarts")
def _(rng):
    cycles, factor, first = rng.randint(1, 4), rng.choice([1.0, 2.0]), rng.randint(2, 12)
    total = int(first * sum(factor**i for i in range(cycles)))
    peak, floor = rng.uniform(0.3, 1), rng.uniform(0.01, 0.9)
    ours = CosineRestarts(cycles=cycles, length_factor=factor, peak_factor=peak, final=floor)
    make = lambda s: s.CosineDecayRestarts(1.0, first, factor, peak, floor)
    return Pair(run(ours, total, steps=total), keras_run(make, total), ours)


# transformers -----------------------------------------------------------------------------------------------------


def transformers_run(name: str, steps: int, *arguments: Any, **settings: Any) -> np.ndarray:
    """What a schedule of transformers sets at steps 0, 1, … for an initial rate of 1."""
    optimization = pytest.importorskip("transformers.optimization", reason="the oracles extra is not installed")
    return torch_run(lambda optimizer: getattr(optimization, name)(optimizer, *arguments, **settings), steps)


def warmed(rng) -> tuple[int, int]:
    total = rng.randint(5, 60)
    return total, rng.randint(1, total - 2)


@row("transformers constant with warm-up")
def _(rng):
    total, warmup = warmed(rng)
    ours = Constant(warmup=warmup)
    return Pair(run(ours, total), transformers_run("get_constant_schedule_with_warmup", total + 1, warmup), ours)


@row("transformers linear")
def _(rng):
    total, warmup = warmed(rng)
    ours = Polynomial(warmup=warmup)
    theirs = transformers_run("get_linear_schedule_with_warmup", total + 5, warmup, total)
    return Pair(run(ours, total, steps=total + 5), theirs, ours)


@row("transformers cosine with a floor, which rises past its end")
def _(rng):
    total, warmup = warmed(rng)
    floor = rng.uniform(0.01, 0.9)
    ours = Cosine(warmup=warmup, final=floor)
    name = "get_cosine_with_min_lr_schedule_with_warmup"
    theirs = transformers_run(name, total + 2, warmup, total, min_lr_rate=floor)
    assert theirs[-1] > theirs[-2]
    return Pair(run(ours, total), theirs[:-1], ours)


@row("transformers cosine with hard restarts")
def _(rng):
    cycles, length, warmup = rng.randint(1, 4), rng.randint(2, 15), rng.randint(1, 10)
    total = warmup + cycles * length
    ours = CosineRestarts(warmup=warmup, cycles=cycles, length_factor=1)
    name = "get_cosine_with_hard_restarts_schedule_with_warmup"
    theirs = transformers_run(name, total + 1, warmup, total, cycles)
    expected = run(ours, total)
    # Its (n·progress) mod 1 may come out just below 1 where a cycle begins: the end of the cycle before.
    starts = [warmup + k * length for k in range(1, cycles)]
    missed = [start for start in starts if theirs[start] < 0.5]
    expected[missed] = 0.0
    return Pair(expected, np.where(np.isin(np.arange(total + 1), missed), 0.0, theirs), ours)


@row("transformers polynomial")
def _(rng):
    total, warmup = warmed(rng)
    power, floor = rng.uniform(0.3, 4), rng.uniform(0.01, 0.9)
    ours = Polynomial(warmup=warmup, power=power, final=floor)
    name = "get_polynomial_decay_schedule_with_warmup"
    theirs = transformers_run(name, total + 5, warmup, total, floor, power)
    return Pair(run(ours, total, steps=total + 5), theirs, ours)


@row("transformers inverse sqrt, which goes on past the end")
def _(rng):
    total, warmup = warmed(rng)
    scale = rng.randint(1, 100)
    ours = InverseSqrt(warmup=warmup, timescale=scale)
    theirs = transformers_run("get_inverse_sqrt_schedule", total + 2, warmup, scale)
    assert theirs[-1] < theirs[-2]
    return Pair(run(ours, total), theirs[:-1], ours)


@row("transformers WSD")
def _(rng):
    total = rng.randint(5, 60)
    warmup = rng.randint(1, total - 2)
    cooldown = rng.randint(1, total - warmup)
    floor, rise, fall = (
        rng.uniform(0, 0.9),
        rng.choice(["linear", "cosine", "sqrt"]),
        rng.choice(["linear", "cosine", "sqrt"]),
    )
    names = {"linear": "linear", "cosine": "cosine", "sqrt": "1-sqrt"}
    ours = Constant(
        warmup=warmup, warmup_from=floor, warmup_curve=rise, cooldown=cooldown, cooldown_curve=fall, final=floor
    )
    theirs = transformers_run(
        "get_wsd_schedule", total + 5, warmup, cooldown, total,
        warmup_type=names[rise], decay_type=names[fall], min_lr_ratio=floor,
    )  # fmt: skip
    return Pair(run(ours, total, steps=total + 5), theirs, ours)


# timm -------------------------------------------------------------------------------------------------------------


def timm_run(name: str, steps: int, **settings: Any) -> np.ndarray:
    """What a timm scheduler sets at updates 0, 1, … for an initial rate of 1."""
    timm = pytest.importorskip("timm.scheduler", reason="the oracles extra is not installed")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = getattr(timm, name)(optimizer, t_in_epochs=False, **settings)
    rates = []
    for step in range(steps):
        scheduler.step_update(step)
        rates.append(optimizer.param_groups[0]["lr"])
    return np.array(rates)


@row("timm cosine with warm-up before it, k-decay")
def _(rng):
    length, warmup, k = rng.randint(2, 60), rng.randint(1, 20), rng.uniform(0.3, 4)
    start, floor = rng.uniform(0, 1), rng.uniform(0.01, 0.9)
    ours = Cosine(warmup=warmup, warmup_from=start, final=floor, k=k)
    theirs = timm_run(
        "CosineLRScheduler", length + warmup + 5, t_initial=length, lr_min=floor, warmup_t=warmup,
        warmup_lr_init=start, warmup_prefix=True, k_decay=k,
    )  # fmt: skip
    return Pair(run(ours, length + warmup, steps=length + warmup + 5), theirs, ours)


@row("timm cosine with its warm-up laid over the decay, which begins at step 0")
def _(rng):
    total, floor = rng.randint(5, 60), rng.uniform(0.01, 0.9)
    warmup = rng.randint(1, total - 1)
    theirs = timm_run("CosineLRScheduler", total + 1, t_initial=total, lr_min=floor, warmup_t=warmup)
    ours = Cosine(final=floor)
    ramp = run(Constant(warmup=warmup), total)[:warmup]
    return Pair(np.concatenate([ramp, run(ours, total, start=warmup)]), theirs, ours)


@row("timm cosine in cycles")
def _(rng):
    cycles, factor, first, peak = rng.randint(1, 4), rng.randint(1, 3), rng.randint(2, 12), rng.uniform(0.3, 1)
    total = first * sum(factor**i for i in range(cycles))
    ours = CosineRestarts(cycles=cycles, length_factor=factor, peak_factor=peak)
    theirs = timm_run(
        "CosineLRScheduler", total + 1, t_initial=first, cycle_mul=factor, cycle_decay=peak, cycle_limit=cycles
    )
    expected = run(ours, total)
    # Where its logarithm comes out just below a whole number it gives the end of the cycle before.
    starts = np.cumsum([first * factor**i for i in range(cycles)])[:-1]
    missed = [start for start in starts if theirs[start] < 1e-9]
    expected[missed] = 0.0
    theirs[missed] = 0.0
    return Pair(expected, theirs, ours)


@row("timm tanh, whose ends are not exact")
def _(rng):
    total, lower, upper = rng.randint(2, 60), rng.uniform(-8, -1), rng.uniform(0, 5)
    theirs = timm_run("TanhLRScheduler", total, t_initial=total, lb=lower, ub=upper)
    start, end = (1 - math.tanh(lower)) / 2, (1 - math.tanh(upper)) / 2
    ours = Tanh(lower=lower, upper=upper)
    return Pair(end + (start - end) * run(ours, total, steps=total), theirs, ours)


@row("timm polynomial, k-decay")
def _(rng):
    length, warmup, k, power = rng.randint(2, 60), rng.randint(1, 20), rng.uniform(0.3, 4), rng.uniform(0.3, 4)
    floor = rng.uniform(0.01, 0.9)
    ours = Polynomial(warmup=warmup, final=floor, k=k, power=power)
    theirs = timm_run(
        "PolyLRScheduler", length + warmup + 5, t_initial=length, power=power, lr_min=floor, warmup_t=warmup,
        warmup_prefix=True, k_decay=k,
    )  # fmt: skip
    return Pair(run(ours, length + warmup, steps=length + warmup + 5), theirs, ours)


@row("timm step")
def _(rng):
    every, gamma, warmup, length = rng.randint(1, 20), rng.uniform(0.05, 1), rng.randint(1, 20), rng.randint(2, 60)
    ours = Step(every=every, gamma=gamma, warmup=warmup)
    theirs = timm_run(
        "StepLRScheduler", length + warmup + 1, decay_t=every, decay_rate=gamma, warmup_t=warmup, warmup_prefix=True
    )
    return Pair(run(ours, length + warmup), theirs, ours)


@row("timm multistep, one step early")
def _(rng):
    total, gamma = rng.randint(5, 60), rng.uniform(0.05, 1)
    milestones = sorted(rng.sample(range(1, total), 3))
    ours = MultiStep(milestones=milestones, gamma=gamma)
    theirs = timm_run("MultiStepLRScheduler", total, decay_t=milestones, decay_rate=gamma)
    return Pair(run(ours, total, start=1), theirs, ours)


@row("timm WSD")
def _(rng):
    length, warmup, floor = rng.randint(2, 60), rng.randint(1, 20), rng.uniform(0, 0.9)
    cooldown, power = rng.randint(1, length), rng.choice([0.5, 1.0, 2.0])
    curve = {0.5: "sqrt", 1.0: "linear", 2.0: "square"}[power]
    ours = Constant(warmup=warmup, cooldown=cooldown, cooldown_curve=curve, final=floor)
    theirs = timm_run(
        "WSDLRScheduler", length + warmup + 5, t_initial=length, decay_t=cooldown, lr_min=floor, decay_fn="power",
        decay_power=power, warmup_t=warmup,
    )  # fmt: skip
    return Pair(run(ours, length + warmup, steps=length + warmup + 5), theirs, ours)


@row("timm inverse sqrt, up to its cool-down, through which it goes on falling")
def _(rng):
    length, warmup, scale = rng.randint(5, 60), rng.randint(1, 20), rng.randint(1, 100)
    cooldown = rng.randint(1, length - 1)
    ours = InverseSqrt(warmup=warmup, timescale=scale)
    theirs = timm_run(
        "WSDLRScheduler", length + warmup - cooldown, t_initial=length, decay_t=cooldown, stable_fn="rsqrt",
        stable_timescale=scale, warmup_t=warmup,
    )  # fmt: skip
    return Pair(run(ours, length + warmup, steps=length + warmup - cooldown), theirs, ours)


# schedulefree -----------------------------------------------------------------------------------------------------


@row("schedulefree's own warm-up, one step early")
def _(rng):
    schedulefree = pytest.importorskip("schedulefree")
    total = rng.randint(5, 30)
    warmup = rng.randint(1, total)
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = schedulefree.SGDScheduleFree([weight], lr=1.0, warmup_steps=warmup)
    optimizer.train()
    theirs = []
    for _ in range(total):
        weight.grad = torch.zeros(1)
        optimizer.step()
        theirs.append(optimizer.param_groups[0]["scheduled_lr"])
    ours = Constant(warmup=warmup)
    return Pair(run(ours, total, start=1), np.array(theirs), ours)


# Papers whose schedule no library here has --------------------------------------------------------------------------


@row("arXiv 1706.03762, equation 3: its step numbers begin at 1")
def _(rng):
    total, width = rng.randint(5, 60), rng.randint(16, 1024)
    warmup = rng.randint(1, total)
    paper = [width**-0.5 * min(n**-0.5, n * warmup**-1.5) for n in range(1, total + 1)]
    ours = InverseSqrt(warmup=warmup, timescale=warmup)
    return Pair(width**-0.5 * warmup**-0.5 * run(ours, total, start=1), np.array(paper), ours)


@row("arXiv 2107.04197, the reflected exponential")
def _(rng):
    total, beta = rng.randint(2, 60), rng.choice([0.5, rng.uniform(0.01, 1)])
    paper = [(1 - t / total) / (beta + (1 - beta) * (1 - t / total)) for t in range(total + 1)]
    ours = Rex() if beta == 0.5 else Rex(beta=beta)
    return Pair(run(ours, total), np.array(paper), ours)


@row("arXiv 2408.13359: warm-up, min(η_max, β·a·n^b) of n tokens, then down to zero")
def _(rng):
    total, tokens = rng.randint(20, 60), rng.randint(1, 5000)
    warmup, cooldown = rng.randint(1, 9), rng.randint(1, 9)
    exponent, knee = rng.uniform(-1, -0.1), rng.randint(warmup, total)
    amplitude = (knee * tokens) ** -exponent
    rise = [n / warmup for n in range(warmup)]
    law = [min(1.0, amplitude * (n * tokens) ** exponent) for n in range(warmup, total - cooldown + 1)]
    fall = [law[-1] * (cooldown - i) / cooldown for i in range(1, cooldown + 1)]
    ours = Power(warmup=warmup, peak_until=knee, exponent=exponent, cooldown=cooldown)
    return Pair(run(ours, total), np.array([*rise, *law, *fall]), ours)


# Presets: the files in conf/schedule as they stand, in a run of 1,000 steps ----------------------------------------


def flat_cosine(t: float) -> float:
    """fastai's ``fit_flat_cos``: ``pct_start=0.75, div_final=1e5``."""
    return 1.0 if t < 0.75 else 1e-5 + (1 - 1e-5) * (1 + math.cos(math.pi * (t - 0.75) / 0.25)) / 2


def one_cycle_defaults(optimizer):
    """Its phases end a step early, at share·T' − 1."""
    return lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=1001, pct_start=301 / 1001)


def wsd(warmup: int, cooldown: int, decay: str) -> np.ndarray:
    return transformers_run("get_wsd_schedule", 1001, warmup, cooldown, 1000, decay_type=decay)


PRESETS: dict[str, Callable[[], Any]] = {
    "onecycle": lambda: torch_run(one_cycle_defaults, 1001),
    "cyclic": lambda: torch_run(lambda o: lr_scheduler.CyclicLR(o, 0.1, 1.0, 100), 1001),
    "wsd": lambda: wsd(50, 200, "1-sqrt"),
    "trapezoid": lambda: wsd(200, 200, "linear"),
    "knee": lambda: wsd(0, 500, "linear"),
    "flat_cosine": lambda: [flat_cosine(step / 1000) for step in range(1001)],
    "noam": lambda: transformers_run("get_inverse_sqrt_schedule", 1001, 100),
    "k_decay": lambda: timm_run("PolyLRScheduler", 1001, t_initial=1000, power=1.0, k_decay=3.0),
    "linear": lambda: transformers_run("get_linear_schedule_with_warmup", 1001, 0, 1000),
    "linear_warmup": lambda: transformers_run("get_linear_schedule_with_warmup", 1001, 50, 1000),
    "cosine_warmup": lambda: transformers_run("get_cosine_schedule_with_warmup", 1001, 50, 1000),
    "polynomial": lambda: transformers_run("get_polynomial_decay_schedule_with_warmup", 1001, 0, 1000, 0.0, 2.0),
    "cosine_restarts": lambda: [*torch_run(restarts, 1000), 0.0],
    "power": lambda: [
        step / 20 if step < 20 else min(1, (step / 100) ** -0.51) if step < 900 else 9**-0.51 * (1000 - step) / 100
        for step in range(1001)
    ],
}


def restarts(optimizer):
    return lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 100, 2)


@pytest.mark.filterwarnings("ignore")  # theirs
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_what_its_name_says(name):
    total = 700 if name == "cosine_restarts" else 1000
    ((_, config),) = compose_all(ROOT / "conf", [f"schedule={name}"])
    ours = instantiate(config.schedule, _convert_="all").factor(np.arange(total + 1), Horizon(total, 50))
    theirs = np.array(PRESETS[name]())
    theirs = [*theirs[:total], 0.0] if name == "cosine_restarts" else theirs
    assert_allclose(ours, theirs, rtol=1e-11, atol=1e-14)


def test_the_momentum_of_the_presets_is_torchs():
    makers = {"onecycle": one_cycle_defaults, "cyclic": lambda o: lr_scheduler.CyclicLR(o, 0.1, 1.0, 100)}
    for name, make in makers.items():
        ((_, config),) = compose_all(ROOT / "conf", [f"schedule={name}"])
        ours = instantiate(config.schedule, _convert_="all").momentum_at(np.arange(1001), Horizon(1000, 50))
        assert_allclose(ours, torch_run(make, 1001, momentum=True), rtol=1e-11)


# ------------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")  # theirs
@pytest.mark.parametrize("entry", ROWS, ids=[entry.name for entry in ROWS])
def test_conforms(entry):
    for draw in range(DRAWS):
        pair = entry.draw(random.Random(f"{entry.name} {draw}"))
        assert_allclose(pair.ours, pair.theirs, rtol=1e-11, atol=1e-14, err_msg=repr(pair.schedule))


def test_every_schedule_has_a_row():
    classes = {c for _, c in inspect.getmembers(schedules, inspect.isclass) if issubclass(c, Schedule)} - {Schedule}
    shown = {type(entry.draw(random.Random(0)).schedule) for entry in ROWS}
    assert classes == shown
