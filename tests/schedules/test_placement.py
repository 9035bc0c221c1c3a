import dataclasses
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hydra.utils import get_class, instantiate
from numpy.testing import assert_allclose
from support.programs import ROOT

from lrdecay import schedules
from lrdecay.config.compose import compose_all
from lrdecay.schedules import Constant, Cosine, Cyclic, Duration, Exponential, Horizon, Schedule, Step

# The article's run: 48,000 images in batches of 64, 20 epochs.
ARTICLE = Horizon(total_steps=15000, steps_per_epoch=750)
EVERY = np.arange(ARTICLE.total_steps + 1)
SCHEDULES = [Constant(), Step(), Exponential(), Cosine()]
CLASSES = [cls for cls in vars(schedules).values() if isinstance(cls, type) and Schedule in cls.__bases__]
PLACEMENT = {f.name for f in dataclasses.fields(Schedule)}
EXACT = {"rtol": 1e-12, "atol": 0}


def once_an_epoch(schedule: Schedule, epochs: int, per_epoch: int = 7) -> list[float]:
    horizon = Horizon(epochs * per_epoch, per_epoch)
    return [schedule.factor(epoch * per_epoch, horizon) for epoch in range(epochs)]


class TestFormulas:
    def test_constant(self):
        assert (Constant().factor(EVERY, ARTICLE) == 1).all()

    def test_step_is_the_articles_by_default(self):
        assert_allclose(Step().factor(EVERY[:-1], ARTICLE), 0.1 ** (EVERY[:-1] // 750 // 10), **EXACT)

    def test_a_milestone_is_in_force_at_its_step(self):
        schedule = Step(every=100, gamma=0.5)
        assert [schedule.factor(t, ARTICLE) for t in (0, 99, 100, 199, 200)] == [1, 1, 0.5, 0.5, 0.25]

    @pytest.mark.parametrize(("every", "exact"), [("10%", 123.4), ("0.5ep", 37.5), ("33.3%", 410.922)])
    def test_drops_do_not_drift_where_their_distance_is_no_whole_number(self, every, exact):
        horizon = Horizon(total_steps=1234, steps_per_epoch=75)
        steps = np.arange(1234)
        drops = 1 + np.flatnonzero(np.diff(Step(every=every).factor(steps, horizon)))
        assert drops.tolist() == [math.ceil(k * exact) for k in range(1, 100) if k * exact < 1234]

    @pytest.mark.parametrize("every", ["0.3333333333333333ep", "7.142857142857143%", "33.333333333333336%"])
    def test_lengths_of_many_digits_do_not_overflow(self, every):
        horizon, steps = Horizon(total_steps=15_000, steps_per_epoch=751), np.arange(15_001)
        period = Duration.parse(every).length(horizon)
        drops = [math.floor(t / period) for t in steps.tolist()]
        assert_allclose(Step(every=every, gamma=0.9).factor(steps, horizon), 0.9 ** np.array(drops), **EXACT)
        sampled = [math.ceil(math.floor(t / period) * period) for t in steps.tolist()]
        assert_allclose(
            Exponential(rate=1e-4, per=1, sample_every=every).factor(steps, horizon), np.exp(-1e-4 * np.array(sampled))
        )
        triangle = Cyclic(up=every, down=every).factor(steps, horizon)
        assert 0 <= triangle.min() < 0.01
        assert 0.99 < triangle.max() <= 1

    def test_a_rate_per_part_of_a_step(self):
        horizon = Horizon(total_steps=1500, steps_per_epoch=75)
        assert Exponential(rate=0.1, per="0.1%").factor(1000, horizon) == pytest.approx(math.exp(-0.1 * 1000 / 1.5))

    def test_exponential_by_the_step(self):
        assert_allclose(Exponential(rate=1e-3, per=1).factor(EVERY, ARTICLE), np.exp(-1e-3 * EVERY), **EXACT)

    def test_exponential_by_the_epoch(self):
        assert_allclose(Exponential(rate=0.1, per="1ep").factor(EVERY, ARTICLE), np.exp(-0.1 * EVERY / 750), **EXACT)

    def test_cosine(self):
        expected = 0.5 * (1 + np.cos(np.pi * EVERY / 15000))
        assert_allclose(Cosine().factor(EVERY, ARTICLE), expected, rtol=1e-12, atol=1e-300)


class TestOtherFrameworks:
    def test_torch_step_lr_once_an_epoch(self):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=30, gamma=0.1)
        theirs = []
        for _ in range(100):
            theirs.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        assert_allclose(once_an_epoch(Step(every="30ep", gamma=0.1), 100), theirs, **EXACT)

    def test_the_articles_keras_callback(self):
        def scheduler(epoch, rate):
            return rate if epoch < 10 or epoch == 10 else rate * math.exp(-0.1)

        theirs, rate = [], 1.0
        for epoch in range(20):
            rate = scheduler(epoch, rate)
            theirs.append(rate)
        ours = Exponential(rate=0.1, per="1ep", hold="10ep", sample_every="1ep")
        assert_allclose(once_an_epoch(ours, 20), theirs, **EXACT)

    @pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # Keras' own
    def test_the_articles_keras_callback_in_keras(self, monkeypatch):
        monkeypatch.setenv("KERAS_BACKEND", "torch")
        keras = pytest.importorskip("keras", reason="the oracles extra is not installed")
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(learning_rate=1.0), loss="mse")
        callback = keras.callbacks.LearningRateScheduler(
            lambda epoch, rate: rate if epoch <= 10 else rate * math.exp(-0.1)
        )
        history = model.fit(np.zeros((1, 1)), np.zeros((1, 1)), epochs=20, callbacks=[callback], verbose=0)
        ours = Exponential(rate=0.1, per="1ep", hold="10ep", sample_every="1ep")
        assert_allclose(once_an_epoch(ours, 20), history.history["learning_rate"], rtol=2e-6)  # theirs is float32


class TestPlacement:
    def test_linear_warmup_reaches_one_at_its_end(self):
        schedule = Constant(warmup=4, warmup_from=0.2)
        assert_allclose(schedule.factor(range(6), ARTICLE), [0.2, 0.4, 0.6, 0.8, 1, 1], **EXACT)

    def test_cosine_warmup(self):
        schedule = Constant(warmup=4, warmup_curve="cosine")
        assert_allclose(schedule.factor(range(5), ARTICLE), [0, 0.1464466094067262, 0.5, 0.8535533905932737, 1])

    def test_the_decay_takes_what_warmup_and_hold_leave(self):
        horizon = Horizon(total_steps=100, steps_per_epoch=10)
        schedule = Cosine(warmup="10%", hold="2ep", final=0.1)
        assert schedule.factor(10, horizon) == schedule.factor(30, horizon) == 1
        assert schedule.factor(31, horizon) < 1
        assert schedule.factor(65, horizon) == pytest.approx(0.55, rel=1e-12)
        assert schedule.factor(100, horizon) == pytest.approx(0.1, rel=1e-12)
        assert schedule.factor(99, horizon) > schedule.factor(100, horizon)

    def test_sampled_once_an_epoch(self):
        sampled = Cosine(sample_every="1ep").factor(EVERY[:-1], ARTICLE).reshape(20, 750)
        assert (sampled == sampled[:, :1]).all()
        assert_allclose(sampled[:, 0], Cosine().factor(EVERY[:-1:750], ARTICLE), **EXACT)

    def test_sampled_at_a_distance_that_is_no_whole_number(self):
        horizon = Horizon(total_steps=100, steps_per_epoch=5)
        sampled = Exponential(rate=1, per=1, sample_every="0.5ep").factor(range(10), horizon)
        assert_allclose(-np.log(sampled), [0, 0, 0, 3, 3, 5, 5, 5, 8, 8], rtol=1e-12)

    @pytest.mark.parametrize("schedule", [*SCHEDULES, Cosine(sample_every="30%"), Cosine(warmup="100%")], ids=repr)
    def test_past_the_end_it_stays(self, schedule):
        at_end = schedule.factor(15000, ARTICLE)
        assert (schedule.factor([15001, 40000, 10**12], ARTICLE) == at_end).all()

    @pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
    def test_never_rises_after_the_warmup(self, schedule):
        assert (np.diff(schedule.factor(EVERY, ARTICLE)) <= 0).all()

    def test_warmup_and_hold_longer_than_the_run(self):
        with pytest.raises(
            ValueError, match=r"warmup=60% and hold=9ep: 9000 \+ 6750 steps must be at most the run's 15000"
        ):
            Constant(warmup="60%", hold="9ep").factor(0, ARTICLE)

    @pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
    def test_a_run_of_one_step(self, schedule):
        assert schedule.factor(0, Horizon(1, 1)) == 1

    def test_a_decay_of_no_steps_stays_at_one(self):
        assert Cosine(warmup="50%", hold="50%").factor(15000, ARTICLE) == 1


def test_needs_nothing_but_numpy():
    code = (
        "import sys, lrdecay.schedules; print(sorted({'torch', 'hydra', 'omegaconf', 'pandas'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


class TestConfiguration:
    """The files in ``conf/schedule``."""

    def configs(self) -> dict:
        names = sorted(path.stem for path in (ROOT / "conf/schedule").glob("*.yaml"))
        pairs = compose_all(ROOT / "conf", [f"schedule={','.join(names)}"])
        return {name: config.schedule for name, config in pairs if name != "torch"}

    def test_every_key_of_a_class_can_be_set_without_a_plus(self):
        for name, config in self.configs().items():
            cls = get_class(config._target_)
            assert set(config) - {"_target_"} == {f.name for f in dataclasses.fields(cls)}, name

    def test_every_class_has_a_file_with_its_own_defaults(self):
        made = [instantiate(config, _convert_="all") for config in self.configs().values()]
        for cls in CLASSES:
            shape = [f.name for f in dataclasses.fields(cls) if f.name not in PLACEMENT]
            same = [m for m in made if type(m) is cls and all(getattr(m, key) == getattr(cls(), key) for key in shape)]
            assert same, cls


class TestInterface:
    @pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
    def test_scalar_and_array_agree(self, schedule):
        steps = [0, 1, 7499, 7500, 14999, 15000]
        values = schedule.factor(np.array(steps).reshape(2, 3), ARTICLE)
        assert values.shape == (2, 3)
        assert values.dtype == np.float64
        assert isinstance(schedule.factor(3, ARTICLE), float)
        assert_allclose([schedule.factor(t, ARTICLE) for t in steps], values.ravel(), rtol=0)

    def test_equal_values_are_equal_schedules(self):
        assert Step(gamma=0.5) == Step(gamma=0.5) != Step(gamma=0.1)
        assert len({Step(), Step(), Cosine()}) == 2
        assert "gamma=0.5" in repr(Step(gamma=0.5))
