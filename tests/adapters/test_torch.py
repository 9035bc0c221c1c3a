"""`lrdecay.adapters.torch.scheduler` in the place of torch's own schedulers."""

import copy
import gc
import io
import pickle
import re
import types
import warnings
import weakref

import pytest
import torch
from numpy.testing import assert_allclose

from lrdecay.adapters.rates import Rates
from lrdecay.adapters.torch import Scheduler, scheduler
from lrdecay.errors import BadValue
from lrdecay.schedules import Constant, Cosine, Horizon, Polynomial, Step

HORIZON = Horizon(12, 4)
SCHEDULES = [Constant(), Cosine(warmup=3, final=0.1), Step(every="1ep"), Cosine(momentum=(0.85, 0.95), warmup=2)]


def weights(count: int = 1) -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.ones(2)) for _ in range(count)]


def adamw(**settings) -> torch.optim.Optimizer:
    one, other = weights(2)
    return torch.optim.AdamW([{"params": [one]}, {"params": [other], "lr": 0.01}], lr=0.1, **settings)


def trained(optimizer, rates, steps: int) -> list[list[float]]:
    """The rates of all groups at each step."""
    found = []
    for _ in range(steps):
        found.append([float(group["lr"]) for group in optimizer.param_groups])
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        rates.step()
    return found


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_step_is_that_of_the_schedule_and_the_end_stays(schedule):
    optimizer = adamw()
    rates = scheduler(optimizer, schedule, HORIZON)
    factors = [schedule.factor(min(step, 12), HORIZON) for step in range(20)]
    assert_allclose(trained(optimizer, rates, 20), [[0.1 * f, 0.01 * f] for f in factors], rtol=1e-15)
    assert rates.last_epoch == 20
    assert rates.get_last_lr() == [group["lr"] for group in optimizer.param_groups]


@pytest.mark.parametrize("schedule", [SCHEDULES[3], Cosine(weight_decay="constant", final=0.1, warmup=2)])
def test_momentum_and_weight_decay_are_those_of_our_own_training(schedule):
    ours, theirs = adamw(weight_decay=0.3), adamw(weight_decay=0.3)
    rates, own = scheduler(ours, schedule, HORIZON), Rates(theirs, schedule, HORIZON)
    for step in range(12):
        own.before_step(step)
        for one, other in zip(ours.param_groups, theirs.param_groups, strict=True):
            assert one["betas"] == other["betas"]
            assert one["weight_decay"] == other["weight_decay"]
        for optimizer, following in ((ours, rates), (theirs, own.scheduler)):
            optimizer.step()
            following.step()


def test_of_sgd_it_is_its_momentum():
    optimizer = torch.optim.SGD(weights(), lr=0.1, momentum=0.9)
    schedule = SCHEDULES[3]
    rates = scheduler(optimizer, schedule, HORIZON)
    for step in range(12):
        assert optimizer.param_groups[0]["momentum"] == float(schedule.over(HORIZON).momentum(step))
        optimizer.step()
        rates.step()


def test_what_the_optimizer_does_not_have_is_refused():
    with pytest.raises(BadValue, match="momentum="):
        scheduler(torch.optim.Adagrad(weights()), SCHEDULES[3], HORIZON)
    with pytest.raises(BadValue, match="warmup"):
        scheduler(adamw(), Cosine(warmup=13), HORIZON)


def test_a_checkpoint_of_plain_values_goes_on_in_a_new_process():
    schedule = Cosine(warmup=2)
    whole = adamw()
    expected = trained(whole, scheduler(whole, schedule, HORIZON), 12)
    begun = adamw()
    rates = scheduler(begun, schedule, HORIZON)
    first = trained(begun, rates, 5)
    file = io.BytesIO()
    torch.save({"rates": rates.state_dict(), "optimizer": begun.state_dict()}, file)
    file.seek(0)
    found = torch.load(file, weights_only=True)
    resumed = adamw()
    again = scheduler(resumed, schedule, HORIZON)
    resumed.load_state_dict(found["optimizer"])
    again.load_state_dict(found["rates"])
    assert first + trained(resumed, again, 7) == expected


@pytest.mark.parametrize(
    ("schedule", "horizon", "message"),
    [
        (Polynomial(power=1.0), HORIZON, "schedule=Polynomial("),
        (Cosine(), Horizon(24, 4), "horizon=Horizon(total_steps=24, steps_per_epoch=4)"),
    ],
)
def test_a_checkpoint_of_another_schedule_is_refused(schedule, horizon, message):
    state = scheduler(adamw(), Cosine(), HORIZON).state_dict()
    with pytest.raises(BadValue, match=re.escape(message)):
        scheduler(adamw(), schedule, horizon).load_state_dict(state)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda rates: pickle.loads(pickle.dumps(rates))])
def test_copies_and_pickles(duplicate):
    optimizer = adamw()
    rates = scheduler(optimizer, SCHEDULES[3], HORIZON)
    trained(optimizer, rates, 3)
    twin = duplicate(rates)
    assert twin.optimizer is not optimizer
    rates.step()
    twin.step()
    assert twin.get_last_lr() == rates.get_last_lr()
    assert twin.optimizer.param_groups[0]["betas"] == optimizer.param_groups[0]["betas"]


def test_groups_that_are_added_later():
    optimizer, schedule = adamw(weight_decay=0.3), Cosine(weight_decay="constant", final=0.1)
    rates = scheduler(optimizer, schedule, HORIZON)
    trained(optimizer, rates, 4)
    optimizer.add_param_group({"params": weights(), "lr": 0.5})
    optimizer.step()
    rates.step()
    factor = schedule.factor(5, HORIZON)
    assert_allclose(rates.get_last_lr(), [0.1 * factor, 0.01 * factor, 0.5 * factor], rtol=1e-15)
    decayed = [group["lr"] * group["weight_decay"] for group in optimizer.param_groups]
    assert_allclose(decayed, [0.1 * 0.3, 0.01 * 0.3, 0.5 * 0.3], rtol=1e-12)


def test_within_one_of_torchs_that_joins_schedulers():
    optimizer = torch.optim.SGD(weights(), lr=1.0)
    first, second = Polynomial(power=1.0), Cosine(final=0.5)
    both = torch.optim.lr_scheduler.SequentialLR(
        optimizer, [scheduler(optimizer, first, Horizon(5, 5)), scheduler(optimizer, second, Horizon(7, 7))], [5]
    )
    expected = [first.factor(step, Horizon(5, 5)) for step in range(5)]
    expected += [second.factor(step, Horizon(7, 7)) for step in range(7)]
    assert_allclose([rate for (rate,) in trained(optimizer, both, 12)], expected, rtol=1e-15)


@pytest.mark.parametrize("settings", [{"fused": True}, {"foreach": False}])
def test_rates_that_are_tensors_are_changed_in_place(settings):
    """As a compiled step needs it, which would be compiled again for each new number."""
    optimizer = torch.optim.AdamW(weights(2), lr=torch.tensor(0.1), **settings)
    rate = optimizer.param_groups[0]["lr"]
    schedule = Cosine(warmup=2)
    rates = scheduler(optimizer, schedule, HORIZON)
    found = [float(values[0]) for values in trained(optimizer, rates, 12)]
    assert optimizer.param_groups[0]["lr"] is rate
    assert_allclose(found, [0.1 * schedule.factor(step, HORIZON) for step in range(12)], rtol=1e-6)


def test_steps_that_a_gradient_scaler_skips():
    optimizer = torch.optim.SGD(weights(), lr=1.0)
    rates, scaler = scheduler(optimizer, Polynomial(power=1.0), HORIZON), torch.amp.GradScaler("cpu")
    for step in range(4):
        (parameter,) = optimizer.param_groups[0]["params"]
        parameter.grad = torch.full_like(parameter, float("inf") if step == 1 else 1.0)
        scaler.scale(torch.ones(1))
        scaler.step(optimizer)
        scaler.update()
        rates.step()
    assert optimizer.param_groups[0]["lr"] == Polynomial(power=1.0).factor(4, HORIZON), (
        "the horizon counts steps of the schedule"
    )
    assert torch.isfinite(parameter).all()


class TestAsTorchsOwn:
    """What torch's tests ask of each of its schedulers."""

    def test_it_leaves_no_circle_of_references(self):
        """Neither keeps the other, nor itself, alive."""

        def used() -> tuple[weakref.ref, weakref.ref]:
            optimizer = adamw()
            rates = scheduler(optimizer, Cosine(momentum=(0.8, 0.9)), HORIZON)
            trained(optimizer, rates, 3)
            return weakref.ref(optimizer), weakref.ref(rates)

        gc.collect()
        gc.disable()
        try:
            assert [reference() for reference in used()] == [None, None]
        finally:
            gc.enable()

    @pytest.mark.parametrize("last_epoch", [-1, 10])
    def test_a_step_before_the_optimizers_is_warned_of(self, last_epoch):
        optimizer = adamw()
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        rates = Scheduler(optimizer, Cosine(), HORIZON, last_epoch)
        with pytest.warns(UserWarning, match="how-to-adjust-learning-rate"):
            rates.step()

    def test_the_right_order_is_not(self):
        optimizer = adamw()
        rates = scheduler(optimizer, Cosine(), HORIZON)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            trained(optimizer, rates, 20)

    def test_an_optimizer_whose_step_is_replaced_is_warned_of(self):
        optimizer = adamw()
        rates, step = scheduler(optimizer, Cosine(), HORIZON), optimizer.step
        optimizer.step = types.MethodType(lambda _, *arguments: step(*arguments), optimizer)
        with pytest.warns(UserWarning, match="has been overridden"):
            trained(optimizer, rates, 1)

    @pytest.mark.filterwarnings("ignore:The epoch parameter")
    def test_a_step_that_is_named_is_the_one_set(self):
        optimizer = adamw()
        rates = scheduler(optimizer, Cosine(), HORIZON)
        optimizer.step()
        for step in (2, 2, 7, 2):
            rates.step(step)
            assert rates.get_last_lr()[0] == 0.1 * Cosine().factor(step, HORIZON)

    def test_to_go_on_it_needs_the_rates_at_the_beginning(self):
        with pytest.raises(KeyError, match="'initial_lr' is not specified"):
            Scheduler(adamw(), Cosine(), HORIZON, last_epoch=1)

    def test_a_second_one_begins_at_the_first_ones_rates(self):
        optimizer = adamw()
        trained(optimizer, scheduler(optimizer, Cosine(), HORIZON), 5)
        again = scheduler(optimizer, Constant(), HORIZON)
        assert again.base_lrs == [0.1, 0.01]
        assert again.get_last_lr() == [0.1, 0.01]

    def test_a_rate_that_is_a_tensor_is_not_shared_with_the_one_at_the_beginning(self):
        optimizer = torch.optim.SGD(weights(), lr=torch.tensor(0.5))
        rates = scheduler(optimizer, Polynomial(power=1.0), HORIZON)
        trained(optimizer, rates, 3)
        assert rates.base_lrs == [torch.tensor(0.5)]
        assert rates.get_last_lr()[0] is not optimizer.param_groups[0]["lr"]

    @pytest.mark.parametrize("chained", [False, True])
    def test_beside_another_scheduler(self, chained):
        optimizer = torch.optim.SGD(weights(), lr=1.0)
        ours = scheduler(optimizer, Polynomial(power=1.0), HORIZON)
        theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
        if chained:
            both = torch.optim.lr_scheduler.ChainedScheduler([ours], optimizer=optimizer)
            trained(optimizer, both, 3)
        else:
            trained(optimizer, ours, 3)
            theirs.step(1.0)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(9 / 12)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler, of its own modules
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_a_compiled_step_is_compiled_once(optimizer):
    """Where the rate is a tensor, as torch asks for; a number would be compiled in."""
    from torch._dynamo import config, reset

    reset()
    (parameter,) = weights()
    parameter.grad = torch.ones_like(parameter)
    ours = optimizer([parameter], lr=torch.tensor(0.1), foreach=False)
    rates = scheduler(ours, Cosine(warmup=2), HORIZON)

    @torch.compile(backend="eager")
    def step() -> None:
        ours.step()

    step()  # makes the optimizer's state, and is compiled a second time with it
    rates.step()
    step()
    rates.step()
    before = parameter.detach().clone()
    with config.patch(error_on_recompile=True):
        for _ in range(10):
            step()
            rates.step()
    assert rates.last_epoch == 12
    assert not torch.equal(before, parameter)
