import pytest
import torch
from numpy.testing import assert_allclose

from lrdecay.adapters.quantities import stepwise
from lrdecay.adapters.rates import Rates
from lrdecay.errors import BadValue
from lrdecay.schedules import Constant, Cosine, Horizon, Plateau
from lrdecay.training.averages import Averages


@pytest.mark.parametrize("step", [0, 1, 1023, 1024, 1025, 2999, 3000, 9999])
def test_a_function_of_one_step_is_that_of_many(step):
    schedule, horizon = Cosine(warmup=100), Horizon(3000, 100)
    assert stepwise(lambda steps: schedule.factor(steps, horizon))(step) == schedule.factor(step, horizon)


def sgd(**settings) -> torch.optim.Optimizer:
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": rate} for rate in (1.0, 0.1)]
    return torch.optim.SGD(groups, **settings)


def test_the_scheduler_has_no_state_of_the_schedule_to_restore():
    rates = Rates(sgd(), Cosine(), Horizon(10, 1), Plateau())
    assert rates.scheduler.state_dict()["lr_lambdas"] == [None, None]


def test_each_group_keeps_its_own_initial_rate():
    optimizer, schedule, horizon = sgd(), Cosine(warmup=2), Horizon(10, 1)
    rates = Rates(optimizer, schedule, horizon)
    for step in range(10):
        expected = [rate * schedule.factor(step, horizon) for rate in (1.0, 0.1)]
        assert_allclose([group["lr"] for group in optimizer.param_groups], expected, rtol=1e-15)
        optimizer.step()
        rates.scheduler.step()


def test_a_changed_scale_is_in_force_at_once():
    optimizer, scale = sgd(), Plateau(patience=0, factor=0.5)
    rates = Rates(optimizer, Constant(), Horizon(10, 1), scale)
    optimizer.step()
    for metric in (1.0, 1.0, 1.0):
        scale.read(metric)
    rates.rescale()
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.025]
    rates.scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.025]


@pytest.mark.parametrize("kind", ["coupled", "constant"])
def test_weight_decay_with_the_rate_or_beside_it(kind):
    """Without a gradient AdamW does nothing but decay the weight."""
    weight = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = torch.optim.AdamW([weight], lr=0.1, weight_decay=0.5)
    schedule, horizon = Cosine(weight_decay=kind), Horizon(20, 1)
    rates = Rates(optimizer, schedule, horizon)
    expected = 1.0
    for step in range(20):
        weight.grad = torch.zeros_like(weight)
        rates.before_step(step)
        optimizer.step()
        rates.scheduler.step()
        expected *= 1 - 0.1 * 0.5 * (schedule.factor(step, horizon) if kind == "coupled" else 1)
    assert weight.item() == pytest.approx(expected, rel=1e-12)


def test_constant_weight_decay_goes_on_after_a_resume():
    """Loading its state gives an optimizer new parameter groups."""
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.AdamW([weight], lr=0.1, weight_decay=0.5)
    rates = Rates(optimizer, Constant(warmup=10, weight_decay="constant"), Horizon(20, 1))
    for _ in range(5):
        weight.grad = torch.zeros_like(weight)
        optimizer.step()
        rates.scheduler.step()
    optimizer.load_state_dict(optimizer.state_dict())
    rates.before_step(5)
    assert optimizer.param_groups[0]["weight_decay"] == pytest.approx(1.0)


def test_a_momentum_that_begins_at_zero_needs_a_buffer_that_is_made_later():
    optimizer = torch.optim.RMSprop([torch.nn.Parameter(torch.ones(1))], momentum=0.9)
    with pytest.raises(BadValue, match=r"^momentum=\[0, 0.9\]: must be above 0 with RMSprop"):
        Rates(optimizer, Cosine(momentum=(0, 0.9)), Horizon(20, 1))


def test_a_rate_of_zero_has_no_weight_decay():
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.AdamW([weight], lr=0.1, weight_decay=0.5)
    rates = Rates(optimizer, Constant(warmup=5, weight_decay="constant"), Horizon(20, 1))
    weight.grad = torch.zeros_like(weight)
    rates.before_step(0)
    optimizer.step()
    assert weight.item() == 1


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop])
def test_constant_weight_decay_needs_one_that_is_decoupled(make):
    optimizer = make([torch.nn.Parameter(torch.ones(1))], lr=0.1, weight_decay=0.5)
    with pytest.raises(BadValue, match=f"^weight_decay=constant: not possible with {make.__name__}"):
        Rates(optimizer, Constant(weight_decay="constant"), Horizon(20, 1))


@pytest.mark.parametrize(
    ("optimizer", "fits"),
    [
        (sgd(), False),
        (sgd(momentum=0.9), True),
        (torch.optim.Adam([torch.nn.Parameter(torch.ones(1))]), True),
        (torch.optim.RMSprop([torch.nn.Parameter(torch.ones(1))]), False),
        (torch.optim.Adagrad([torch.nn.Parameter(torch.ones(1))]), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_momentum_schedule_needs_a_momentum(optimizer, fits):
    schedule, horizon = Cosine(momentum=(0.8, 0.9), warmup=5), Horizon(20, 1)
    if not fits:
        with pytest.raises(BadValue, match=r"^momentum=\[0.8, 0.9\]: must be null with "):
            Rates(optimizer, schedule, horizon)
        return
    rates = Rates(optimizer, schedule, horizon)
    for step, expected in ((0, 0.9), (5, 0.8), (20, 0.9)):
        rates.before_step(step)
        for group in optimizer.param_groups:
            momentum = group["betas"][0] if "betas" in group else group["momentum"]
            assert momentum == pytest.approx(expected, rel=1e-12)


class TestAverages:
    def test_training_goes_on_from_the_same_weights(self):
        schedulefree = pytest.importorskip("schedulefree")
        generator = torch.Generator().manual_seed(0)
        ends = []
        for look in (False, True):
            generator.manual_seed(0)
            weight = torch.nn.Parameter(torch.ones(5))
            optimizer = schedulefree.SGDScheduleFree([weight], lr=0.1)
            averages = Averages(optimizer)
            averages.train()
            for step in range(30):
                weight.grad = torch.randn(5, generator=generator)
                optimizer.step()
                if look:
                    trained = weight.detach().clone()
                    averages.use()
                    assert not averages.needed
                    assert step == 0 or not torch.equal(weight, trained)  # one step is its own average
                    averages.train()
                    assert torch.equal(weight, trained)
            averages.use()
            ends.append(weight.detach().clone())
        assert torch.equal(*ends)

    def test_the_average_is_schedulefrees_own(self):
        schedulefree = pytest.importorskip("schedulefree")
        weight = torch.nn.Parameter(torch.ones(5))
        optimizer = schedulefree.AdamWScheduleFree([weight], lr=0.1)
        averages = Averages(optimizer)
        averages.train()
        weight.grad = torch.ones(5)
        optimizer.step()
        averages.use()
        ours = weight.detach().clone()
        averages.train()
        optimizer.eval()
        assert torch.equal(weight, ours)

    def test_of_any_other_optimizer_are_its_weights(self):
        averages = Averages(sgd())
        assert not averages.needed
        averages.use()
        averages.train()
