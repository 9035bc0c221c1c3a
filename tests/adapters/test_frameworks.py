"""Schedules in transformers, Keras, optax, timm and accelerate: the rate of every step, as each framework takes it."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import lrdecay
from lrdecay import Cosine, Horizon, Join, MultiStep, Polynomial, Schedule, Step, Table
from lrdecay.adapters.plain import of_plain, to_plain
from lrdecay.adapters.table import rate_table
from lrdecay.adapters.torch import scheduler
from lrdecay.errors import BadValue
from lrdecay.schedules import Duration

NOT_INSTALLED = "the oracles extra is not installed"
HORIZON = Horizon(24, 8)
SCHEDULES = [Cosine(warmup="1ep", final=0.1), Step(every="1ep", gamma=0.5), Table(points=[[0, 1], [0.3, 0.9], [1, 0]])]


@pytest.fixture
def transformers():
    return pytest.importorskip("transformers", reason=NOT_INSTALLED)


def tiny(transformers):
    """A language model from its configuration, and numbers to predict."""
    torch.manual_seed(1)
    sizes = {"n_embd": 8, "n_layer": 1, "n_head": 1, "n_positions": 8, "vocab_size": 16}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))
    texts = torch.randint(16, (32, 8), generator=torch.Generator().manual_seed(1))
    return model, [{"input_ids": text, "labels": text} for text in texts]


def arguments(transformers, folder, **others):
    settings = {"learning_rate": 0.01, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    quiet = {"report_to": [], "disable_tqdm": True, "use_cpu": True, "save_strategy": "no", "logging_steps": 1}
    return transformers.TrainingArguments(str(folder), **settings | {"num_train_epochs": 3} | quiet | others)


def rates_of(trainer) -> list[float]:
    return [entry["learning_rate"] for entry in trainer.state.log_history if "learning_rate" in entry]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:.*pin_memory")
class TestTransformers:
    @pytest.mark.parametrize("schedule", [*SCHEDULES, Cosine(momentum=(0.8, 0.9))])
    def test_every_step_of_a_trainer(self, transformers, tmp_path, schedule):
        from lrdecay.adapters.transformers import ScheduledTrainer

        model, data = tiny(transformers)
        trainer = ScheduledTrainer(model, arguments(transformers, tmp_path), train_dataset=data, schedule=schedule)
        trainer.train()
        np.testing.assert_allclose(rates_of(trainer), 0.01 * schedule.factor(range(24), HORIZON), rtol=1e-12)
        if schedule.momentum:
            assert trainer.optimizer.param_groups[0]["betas"][0] == pytest.approx(0.9)

    def test_it_goes_on_from_its_checkpoint(self, transformers, tmp_path):
        from lrdecay.adapters.transformers import ScheduledTrainer

        schedule = SCHEDULES[0]
        settings = arguments(transformers, tmp_path, save_strategy="steps", save_steps=10)
        model, data = tiny(transformers)
        ScheduledTrainer(model, settings, train_dataset=data, schedule=schedule).train()
        model, data = tiny(transformers)
        resumed = ScheduledTrainer(model, settings, train_dataset=data, schedule=schedule)
        resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-10"))
        np.testing.assert_allclose(rates_of(resumed), 0.01 * schedule.factor(range(24), HORIZON), rtol=1e-12)
        other = ScheduledTrainer(tiny(transformers)[0], settings, train_dataset=data, schedule=Step())
        with pytest.raises(BadValue, match="must be that of the checkpoint"):
            other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-10"))

    def test_the_pair(self, transformers, tmp_path):
        from lrdecay.adapters.transformers import optimizers

        model, data = tiny(transformers)
        pair = optimizers(torch.optim.AdamW(model.parameters(), lr=0.02), SCHEDULES[1], HORIZON)
        trainer = transformers.Trainer(model, arguments(transformers, tmp_path), train_dataset=data, optimizers=pair)
        trainer.train()
        np.testing.assert_allclose(rates_of(trainer), 0.02 * SCHEDULES[1].factor(range(24), HORIZON), rtol=1e-12)

    def test_before_another_trainer(self, transformers, tmp_path):
        from lrdecay.adapters.transformers import Scheduled

        class Mine(Scheduled, transformers.Seq2SeqTrainer):
            pass

        model, data = tiny(transformers)
        settings = transformers.Seq2SeqTrainingArguments(
            str(tmp_path), max_steps=3, report_to=[], disable_tqdm=True, use_cpu=True, save_strategy="no"
        )
        trainer = Mine(model, settings, train_dataset=data, schedule=Cosine())
        trainer.train()
        assert trainer.lr_scheduler.horizon == Horizon(3, 4)


KERAS = """
import json, sys
import numpy as np
import keras
from lrdecay import *
from lrdecay.adapters.keras import LearningRate

horizon = Horizon(24, 8)
schedule = Join(first=Cosine(final=0.2), second=Polynomial(power=2.0), at="1ep", warmup=4)
rate = LearningRate(schedule, 0.1, horizon)
model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
model.compile(keras.optimizers.SGD(rate), loss="mse")
seen = []


class Watch(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        seen.append(float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)))


images = np.random.default_rng(1).normal(size=(16, 3))
model.fit(images, images.sum(1), batch_size=2, epochs=2, verbose=0, callbacks=[Watch()])
model.save(sys.argv[1])
again = keras.models.load_model(sys.argv[1])
again.fit(images, images.sum(1), batch_size=2, epochs=2, verbose=0, callbacks=[Watch()])
print(json.dumps(seen))
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch", "tensorflow"])
def test_keras_calls_it_at_every_step_and_saves_it(tmp_path, backend):
    pytest.importorskip("keras", reason=NOT_INSTALLED)
    pytest.importorskip(backend, reason=f"{backend} is not installed, a backend of Keras")
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    program = [sys.executable, "-W", "ignore", "-c", KERAS, str(tmp_path / "model.keras")]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    schedule = Join(first=Cosine(final=0.2), second=Polynomial(power=2.0), at="1ep", warmup=4)
    # The model was saved behind 16 steps, and went on from there, past the end.
    expected = 0.1 * schedule.factor(range(32), HORIZON)
    np.testing.assert_allclose(json.loads(done.stdout.splitlines()[-1]), expected, rtol=1e-6, atol=1e-9)


def test_what_sets_more_than_the_rate_has_no_table():
    with pytest.raises(BadValue, match=r"^momentum=\[0.8, 0.9\]: must be null, since momentum cannot be set here"):
        rate_table(Cosine(momentum=(0.8, 0.9)), 0.1, HORIZON)
    allowed = "must be coupled, since weight decay cannot be set here"
    with pytest.raises(BadValue, match=rf"^weight_decay=constant: {allowed}"):
        rate_table(Cosine(weight_decay="constant"), 0.1, HORIZON)


class TestOptax:
    @pytest.fixture
    def jax(self):
        pytest.importorskip("optax", reason=NOT_INSTALLED)
        import jax

        return jax

    @pytest.mark.parametrize("schedule", SCHEDULES)
    def test_every_step_however_it_is_called(self, jax, schedule):
        from lrdecay.adapters import optax

        rate = optax.schedule(schedule, 0.1, HORIZON)
        steps, expected = np.arange(30), 0.1 * schedule.factor(range(30), HORIZON)
        _, scanned = jax.lax.scan(lambda carry, step: (carry, rate(step)), 0, steps)
        called = [rate(int(step)) for step in steps]
        for found in (called, jax.jit(rate)(steps), jax.vmap(rate)(steps), scanned):
            np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-6)

    def test_in_float64_it_is_exact_and_nothing_leaks(self, jax):
        from lrdecay.adapters import optax

        expected = 0.1 * SCHEDULES[0].factor(range(24), HORIZON)
        with jax.checking_leaks():
            assert jax.jit(optax.schedule(SCHEDULES[0], 0.1, HORIZON))(3).dtype == "float32"
            with jax.enable_x64(True):
                found = jax.jit(jax.vmap(optax.schedule(SCHEDULES[0], 0.1, HORIZON)))(np.arange(24))
        assert found.dtype == "float64"
        np.testing.assert_array_equal(np.asarray(found), expected)

    def test_with_injected_hyperparameters(self, jax):
        from lrdecay.adapters import optax as adapter

        optax = pytest.importorskip("optax", reason=NOT_INSTALLED)
        rate = adapter.schedule(SCHEDULES[1], 0.1, HORIZON)
        optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=rate)
        weights = jax.numpy.ones(2)
        state, update, found = optimizer.init(weights), jax.jit(optimizer.update), []
        for _ in range(24):
            _, state = update(jax.numpy.ones(2), state, weights)
            found.append(float(state.hyperparams["learning_rate"]))
        np.testing.assert_allclose(found, 0.1 * SCHEDULES[1].factor(range(24), HORIZON), rtol=1e-6)


def test_with_an_optimizer_of_timm():
    pytest.importorskip("timm", reason=NOT_INSTALLED)
    from timm.optim import create_optimizer_v2

    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2))
    optimizer = create_optimizer_v2(network, opt="lamb", lr=0.1, weight_decay=0.05)
    rates = scheduler(optimizer, SCHEDULES[0], HORIZON)
    for step in range(24):
        assert [group["lr"] for group in optimizer.param_groups] == [0.1 * SCHEDULES[0].factor(step, HORIZON)] * 2
        network(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        rates.step()


def test_prepared_by_accelerate():
    accelerate = pytest.importorskip("accelerate", reason=NOT_INSTALLED)
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    network = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    network, optimizer, rates = accelerator.prepare(network, optimizer, scheduler(optimizer, SCHEDULES[0], HORIZON))
    found = []
    for _ in range(48):
        with accelerator.accumulate(network):
            accelerator.backward(network(torch.ones(1, 2)).sum())
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            rates.step()
            optimizer.zero_grad()
    np.testing.assert_allclose(found[::2], 0.1 * SCHEDULES[0].factor(range(24), HORIZON), rtol=1e-12)


@pytest.mark.parametrize(
    ("adapter", "framework"),
    [("torch", "torch"), ("lightning", "pytorch_lightning"), ("transformers", "transformers"), ("keras", "keras"),
     ("optax", "jax")],
)  # fmt: skip
def test_each_needs_its_own_framework_and_no_other_part_of_ours(adapter, framework):
    pytest.importorskip(framework, reason=NOT_INSTALLED)
    program = f"import sys, lrdecay.adapters.{adapter}; print(*sys.modules)"
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    found = {name.partition(".")[0] for name in done.stdout.split()}
    assert framework in found
    assert not found & {"hydra", "msgspec", "plotly", "schedulefree"}
    if adapter in ("keras", "optax"):
        assert not found & {"torch", "pytorch_lightning"}


@pytest.mark.parametrize(
    "thing",
    [
        *SCHEDULES,
        HORIZON,
        Cosine(warmup=Duration(5, "%")),
        Join(first=Step(), second=Cosine(), at=5),
        MultiStep(milestones=["1ep", 12]),
    ],
)
def test_plain_values_are_the_schedule_again(thing):
    assert of_plain(json.loads(json.dumps(to_plain(thing)))) == thing


def test_every_schedule_becomes_plain():
    for name in lrdecay.__all__:
        kind = getattr(lrdecay, name)
        if isinstance(kind, type) and issubclass(kind, Schedule) and kind not in (Schedule, lrdecay.Piecewise, Table):
            made = kind(milestones=[5]) if name == "MultiStep" else kind()
            assert of_plain(json.loads(json.dumps(to_plain(made)))) == made


def test_what_is_no_schedule_or_not_imported():
    with pytest.raises(BadValue, match=r"class=os.system: must be a schedule that has been imported"):
        of_plain({"class": "os.system", "command": "true"})


@pytest.mark.parametrize(
    ("rate", "horizon", "message"),
    [
        (0, HORIZON, "rate=0: must be a number above 0"),
        ("a", HORIZON, "rate=a: must be a number above 0"),
        (0.1, Horizon(10**8), "total_steps=100000000: must be at most 10,000,000"),
    ],
)
def test_what_has_no_table(rate, horizon, message):
    with pytest.raises(BadValue, match=message):
        rate_table(Cosine(), rate, horizon)
