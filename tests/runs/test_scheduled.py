"""``scheduled``: quantities besides the rate that have schedules of their own."""

import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from support.programs import run, run_apart
from support.runs import StoppedAt, assert_same

from lrdecay.records.record import read
from lrdecay.schedules import Cosine, Horizon, Step
from lrdecay.training.accumulation import Accumulation
from lrdecay.training.module import Classifier
from lrdecay.training.scheduled import Quantities

SMALL = ["data=digits", "data.train_size=640", "model=mlp", "trainer.max_epochs=3", "trainer.log_every_n_steps=1"]
HORIZON = Horizon(30, 10)


def columns(folder) -> pd.DataFrame:
    """What was logged at each of the 30 steps."""
    frame = pd.read_csv(folder / "metrics.csv")
    return frame[frame.lr.notna()].reset_index(drop=True)


def test_each_is_its_own_value_times_a_factor(tmp_path):
    words = [
        "optimizer=adamw", "optimizer.weight_decay=0.1", "model.dropout=0.2", "label_smoothing=0.1",
        "+schedule@scheduled.optimizer.weight_decay=linear", "+schedule@scheduled.model.dropout=step",
        "+schedule@scheduled.optimizer.beta2=cosine", "scheduled.optimizer.beta2.final=0.5",
        "+schedule@scheduled.label_smoothing=cosine", "+schedule@scheduled.optimizer.momentum=step",
    ]  # fmt: skip
    done = run_apart("train.py", *SMALL, *words, "hydra.run.dir=outputs/runs/a", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = columns(tmp_path / "outputs/runs/a")
    steps = range(30)
    assert_allclose(found.weight_decay, [0.1 * (1 - step / 30) for step in steps], rtol=1e-9)
    assert_allclose(found.dropout, 0.2 * Step().factor(steps, HORIZON), rtol=1e-9)
    assert_allclose(found.beta2, 0.999 * Cosine(final=0.5).factor(steps, HORIZON), rtol=1e-9)
    assert_allclose(found.label_smoothing, 0.1 * Cosine().factor(steps, HORIZON), rtol=1e-9)
    assert_allclose(found.momentum, 0.9 * Step().factor(steps, HORIZON), rtol=1e-9)
    assert_allclose(found.lr, 1e-3)
    assert (tmp_path / "outputs/runs/a/lr.png").stat().st_size > 10_000


def test_it_changes_what_is_trained(tmp_path):
    words = [*SMALL, "optimizer=adamw", "optimizer.weight_decay=1.0", "schedule=cosine"]
    run("train.py", *words, "hydra.run.dir=outputs/runs/a", cwd=tmp_path)
    scheduled = [*words, "+schedule@scheduled.optimizer.weight_decay=linear"]
    run("train.py", *scheduled, "hydra.run.dir=outputs/runs/b", cwd=tmp_path)
    one, other = (read(tmp_path / f"outputs/runs/{name}/record.json") for name in "ab")
    assert one.outcome.final != other.outcome.final


def test_a_run_that_stopped_goes_on_with_them(tmp_path):
    words = [*SMALL, "optimizer=adamw", "optimizer.weight_decay=0.1", "model.dropout=0.3"]
    words += ["+schedule@scheduled.optimizer.weight_decay=linear", "+schedule@scheduled.model.dropout=linear"]
    run("train.py", *words, "hydra.run.dir=outputs/runs/whole", cwd=tmp_path)
    stopped = run("train.py", *words, "hydra.run.dir=outputs/runs/part", cwd=tmp_path, prepare=StoppedAt(14))
    assert stopped.returncode == 143
    again = run_apart("train.py", "resume=outputs/runs/part", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert_same(tmp_path / "outputs/runs/part", tmp_path / "outputs/runs/whole")


ACCUMULATED = "+schedule@scheduled.trainer.accumulate_grad_batches"
FOUR = ["data.batch_size=16", "trainer.accumulate_grad_batches=4", "optimizer=momentum"]


def test_accumulated_batches_make_the_steps_that_lightning_would(tmp_path):
    run("train.py", *SMALL, *FOUR, "hydra.run.dir=outputs/runs/a", cwd=tmp_path)
    run("train.py", *SMALL, *FOUR, f"{ACCUMULATED}=constant", "hydra.run.dir=outputs/runs/b", cwd=tmp_path)
    one, other = (read(tmp_path / f"outputs/runs/{name}/record.json") for name in "ab")
    assert one.outcome.final == pytest.approx(other.outcome.final, rel=1e-6)  # the same steps, tallied otherwise
    assert (one.plan.total_steps, other.plan.total_steps) == (30, 120)


def test_the_batch_grows_by_a_schedule_and_no_group_reaches_beyond_its_epoch(tmp_path):
    words = [*SMALL, *FOUR, "trainer.accumulate_grad_batches=6", "schedule=cosine", f"{ACCUMULATED}=piecewise"]
    own = "scheduled.trainer.accumulate_grad_batches"
    words += [f"{own}.points=[[0,0.5],[50%,1]]", f"{own}.curve=constant"]
    words += ["callbacks=gradient_norm", "callbacks.gradient_norm.every=1"]
    done = run("train.py", *words, "hydra.run.dir=outputs/runs/a", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = columns(tmp_path / "outputs/runs/a")
    sizes = [*[3] * 39, 1, *[3] * 21, *[6] * 18, 1, *[6] * 36, *[4] * 4]
    assert found.accumulate_grad_batches.tolist() == sizes
    assert_allclose(found.lr, 0.01 * Cosine().factor(range(120), Horizon(120, 40)), rtol=1e-9)
    norms = pd.read_csv(tmp_path / "outputs/runs/a/metrics.csv").set_index("step").grad_norm.dropna()
    assert norms.index.tolist() == [*range(2, 39, 3), 39, *range(42, 61, 3), 66, 72, 78, 79, *range(85, 116, 6), 119]


def test_batches_beyond_those_that_were_planned_make_a_step_each():
    accumulation = Accumulation(4)
    sizes = []
    for step in (0, 8, 28, 30, 31):
        accumulation.begin(4, step, HORIZON)
        sizes.append(accumulation.size)
    assert sizes == [4, 2, 2, 1, 1]


def test_a_run_that_accumulates_stops_between_steps_and_goes_on(tmp_path):
    words = [*SMALL, *FOUR, f"{ACCUMULATED}=linear", "trainer.accumulate_grad_batches=7", "schedule=cosine"]
    words += ["callbacks.checkpoints.every_n_steps=1"]
    run("train.py", *words, "hydra.run.dir=outputs/runs/whole", cwd=tmp_path)
    stopped = run("train.py", *words, "hydra.run.dir=outputs/runs/part", cwd=tmp_path, prepare=StoppedAt(50))
    assert stopped.returncode == 143
    again = run_apart("train.py", "resume=outputs/runs/part", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert_same(tmp_path / "outputs/runs/part", tmp_path / "outputs/runs/whole")


def test_groups_keep_their_own_and_new_ones_of_a_checkpoint_are_set_too():
    parameters = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    groups = [{"params": parameters[:1]}, {"params": parameters[1:], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.1, weight_decay=0.2)
    quantities = Quantities({"optimizer.weight_decay": Step()}, Classifier, optimizer, HORIZON)
    optimizer.load_state_dict(optimizer.state_dict())
    assert quantities.before_step(20) == {"weight_decay": pytest.approx(0.02)}
    assert [group["weight_decay"] for group in optimizer.param_groups] == [pytest.approx(0.02), 0]


def test_all_of_a_models_dropout_and_all_betas():
    owner, layers = Classifier.__new__(Classifier), torch.nn.Sequential(torch.nn.Dropout2d(0.3), torch.nn.Dropout(0.2))
    torch.nn.Module.__init__(owner)
    owner.model, owner.label_smoothing = layers, 0.1
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(1))])
    optimizer.param_groups[0]["betas"] = (0.9, 0.99, 0.999)  # as optimizers with three have them
    schedules = {key: Step() for key in ("model.dropout", "optimizer.beta2", "optimizer.momentum", "label_smoothing")}
    Quantities(schedules, owner, optimizer, HORIZON).before_step(20)
    assert [layer.p for layer in layers] == [pytest.approx(0.03), pytest.approx(0.02)]
    assert optimizer.param_groups[0]["betas"] == (pytest.approx(0.09), pytest.approx(0.099), 0.999)
    assert owner.label_smoothing == pytest.approx(0.01)


def test_a_preview_draws_them(tmp_path):
    words = ["schedule=cosine,step", "+schedule@scheduled.optimizer.beta2=cosine"]
    done = run_apart("scripts/preview.py", *SMALL, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    plain = run_apart("scripts/preview.py", *SMALL, words[0], "--output", "plain.png", cwd=tmp_path)
    assert plain.returncode == 0, plain.stderr
    sizes = [(tmp_path / name).stat().st_size for name in ("outputs/preview.png", "plain.png")]
    assert sizes[0] > sizes[1]


WEIGHT_DECAY = "+schedule@scheduled.optimizer.weight_decay=cosine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([WEIGHT_DECAY], "scheduled.optimizer.weight_decay: needs an optimizer with a weight decay, such as"),
        (["+schedule@scheduled.model.dropout=cosine"], "scheduled.model.dropout: needs a model with dropout"),
        (["+schedule@scheduled.label_smoothing=cosine"], "scheduled.label_smoothing: needs a label_smoothing above 0"),
        (["optimizer=sgd", "+schedule@scheduled.optimizer.momentum=step"], "needs an optimizer with a momentum"),
        (["optimizer=sgd", "+schedule@scheduled.optimizer.beta2=step"], "needs an optimizer with two betas"),
        (["+schedule@scheduled.optimizer.lr=cosine"], "scheduled.optimizer.lr: must be one of optimizer.weight_decay,"),
        (["scheduled=3"], "scheduled=3: must hold schedules, of optimizer.weight_decay,"),
        (["+scheduled.optimizer=cosine"], "scheduled.optimizer=cosine: must hold schedules"),
        (
            ["+schedule@scheduled.optimizer.beta2=cosine", "scheduled.optimizer.beta2.warmup=9ep"],
            "scheduled.optimizer.beta2.warmup=9ep: 90 steps must be at most the run's 30",
        ),
        (
            ["+schedule@scheduled.optimizer.beta2=piecewise", "scheduled.optimizer.beta2.points=[[50%,2]]"],
            "must be a schedule under which it stays below 1",
        ),
        (
            ["optimizer=adamw", "optimizer.weight_decay=0.1", "schedule.weight_decay=constant", WEIGHT_DECAY],
            "schedule.weight_decay=constant: cannot be combined with scheduled.optimizer.weight_decay",
        ),
        (
            ["schedule.momentum=[0.8,0.9]", "+schedule@scheduled.optimizer.momentum=step"],
            "schedule.momentum: must be null with scheduled.optimizer.momentum",
        ),
        (
            [
                "optimizer=adamw",
                "optimizer.weight_decay=0.1",
                WEIGHT_DECAY,
                "scheduled.optimizer.weight_decay.momentum=[0.8,0.9]",
            ],
            "scheduled.optimizer.weight_decay.momentum=[0.8, 0.9]: must be null, since momentum cannot be set here",
        ),
        ([f"{ACCUMULATED}=step"], "needs a trainer.accumulate_grad_batches above 1"),
        (["label_smoothing=1"], "label_smoothing=1: must be a number in [0, 1)"),
    ],
)
def test_what_cannot_be_scheduled(tmp_path, words, message):
    done = run_apart("train.py", *SMALL, *words, cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
