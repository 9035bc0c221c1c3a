"""``module=``: somebody's own LightningModule, trained, recorded, resumed and compared as a classifier is."""

import pandas as pd
import pytest
from numpy.testing import assert_allclose
from support.programs import ROOT, Program, run_apart

from lrdecay.records.record import read
from lrdecay.schedules import Cosine, Horizon
from lrdecay.training.checkpoints import read_checkpoint

LINE = [
    "module._target_=support.own.Line", "~data", "+data._target_=support.own.Points", "metric=val/mse",
    "metrics={val/mse: lower, val/fit: higher, test_mse: lower, train/last: lower}", "optimizer=own",
    "trainer.max_epochs=3", "trainer.log_every_n_steps=1",
]  # fmt: skip
"""Six steps in an epoch."""


def trained(folder, *words: str, name: str = "a") -> Program:
    # A mapping on the command line is merged with the one before it, and does not take its place.
    given = {word.partition("=")[0] for word in words}
    line = [word for word in LINE if word.partition("=")[0] not in given]
    path = str(ROOT / "tests")  # for the processes that it starts itself
    return run_apart("train.py", *line, *words, f"hydra.run.dir=outputs/runs/{name}", cwd=folder, PYTHONPATH=path)


def test_its_optimizer_follows_the_schedule_and_what_it_logs_is_recorded(tmp_path):
    done = trained(tmp_path, "schedule=cosine", "+module.lr=0.2")
    assert done.returncode == 0, done.stderr
    logged = pd.read_csv(tmp_path / "outputs/runs/a/metrics.csv")
    rates = logged[logged.lr.notna()]
    assert_allclose(rates.lr, 0.2 * Cosine().factor(range(18), Horizon(18, 6)))
    assert list(rates.step) == list(range(18))
    record = read(tmp_path / "outputs/runs/a/record.json")
    assert record.plan.config["module"]["lr"] == 0.2
    assert record.outcome.final.keys() == {"train/loss", "train/last", "val/mse", "val/fit", "test_mse"}
    last = record.progress.epochs[-1]
    assert last["val/mse"] == -last["val/fit"] == record.outcome.final["val/mse"]
    assert last["train/loss_std"] > 0
    assert record.outcome.best["epoch"] == 2
    # Its own hooks are called, and the loss of training is the mean of what it returned.
    assert "called 4 times" in done.stdout
    told = float(done.stdout.partition("mean of the losses ")[2].split()[0])
    assert_allclose(sum(row["train/loss"] for row in record.progress.epochs) / 3, told, rtol=1e-5)
    assert "own · Line, 2 parameters" in done.stdout
    assert "test_mse" in done.stdout.splitlines()[-1]


def test_the_loss_is_whole_where_gradients_are_accumulated(tmp_path):
    done = trained(tmp_path, "+trainer.accumulate_grad_batches=2")
    assert done.returncode == 0, done.stderr
    record = read(tmp_path / "outputs/runs/a/record.json")
    assert record.plan.total_steps == 9
    told = float(done.stdout.partition("mean of the losses ")[2].split()[0])
    assert_allclose(sum(row["train/loss"] for row in record.progress.epochs) / 3, told, rtol=1e-5)


def test_any_optimizer_of_ours_takes_its_place(tmp_path):
    words = ["optimizer=adamw", "optimizer.lr=0.05", "optimizer.groups=[{match: bias, lr: 0.5}]", "schedule=linear"]
    done = trained(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    logged = pd.read_csv(tmp_path / "outputs/runs/a/metrics.csv")
    assert logged.lr.dropna().iloc[0] == 0.05
    assert logged["lr/bias"].dropna().iloc[0] == 0.025


@pytest.mark.parametrize("what", ["list", "dict", "pair"])
def test_its_optimizer_in_every_form_that_lightning_takes(what, tmp_path):
    done = trained(tmp_path, "module._target_=support.own.Returns", f"+module.what={what}", "debug=fast_dev_run")
    assert done.returncode == 0, done.stderr


def test_a_run_that_stopped_goes_on_exactly_and_says_on_what_that_rests(tmp_path):
    assert trained(tmp_path, "schedule=cosine", name="whole").returncode == 0
    stopped = trained(tmp_path, "schedule=cosine", "+module.stop_at=8", name="part")
    assert stopped.returncode == 143
    refused = run_apart("train.py", "resume=outputs/runs/part", cwd=tmp_path)
    assert "module._target_=support.own.Line is not this project's own" in refused.stderr
    again = run_apart("train.py", "resume=outputs/runs/part", "trust=true", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "module: resuming is exact only if Line keeps all its state" in again.stdout + again.stderr
    runs = [tmp_path / "outputs/runs" / name for name in ("whole", "part")]
    whole, part = (read_checkpoint(run / "checkpoints/last.ckpt")["state_dict"] for run in runs)
    assert all((whole[key] == part[key]).all() for key in whole)
    records = [read(run / "record.json") for run in runs]
    assert records[0].progress.epochs == records[1].progress.epochs
    assert records[0].outcome == records[1].outcome


def test_what_it_was_given_is_no_part_of_a_checkpoint_unless_it_is_plain(tmp_path):
    done = trained(tmp_path, "+module.anything={_target_: torch.nn.Linear, in_features: 1, out_features: 1}")
    assert done.returncode == 0, done.stderr
    checkpoint = read_checkpoint(tmp_path / "outputs/runs/a/checkpoints/last.ckpt")
    assert checkpoint["hyper_parameters"] == {"lr": 0.1, "stop_at": None}


def test_a_scale_and_early_stopping_know_which_way_is_better(tmp_path):
    # An accuracy would have to rise, and this one does at each epoch; taken for a loss it would be bad at each.
    words = ["scale=plateau", "scale.metric=val/fit", "scale.patience=0", "callbacks=early_stopping", "metric=val/fit"]
    done = trained(tmp_path, *words, "trainer.max_epochs=8")
    assert done.returncode == 0, done.stderr
    record = read(tmp_path / "outputs/runs/a/record.json")
    assert record.plan.config["callbacks"]["early_stopping"]["mode"] == "max"
    assert record.outcome.ended_by is None
    assert {row["lr"] for row in record.progress.epochs} == {0.1}
    assert record.outcome.best["val/fit"] == max(row["val/fit"] for row in record.progress.epochs)


def test_without_a_test_it_is_judged_by_validation(tmp_path):
    words = ["module._target_=support.own.Untested"]
    words += [word for word in LINE[1:] if not word.startswith("metrics")] + ["metrics={val/mse: lower}"]
    swept = run_apart("train.py", "-m", *words, "schedule=constant,cosine", "seed=1,2", "name=a", cwd=tmp_path)
    assert swept.returncode == 0, swept.stderr
    assert "in validation mse" in swept.stdout
    table = pd.read_csv(tmp_path / "outputs/sweeps/a/comparison.csv")
    assert {"val/mse", "best val/mse", "epochs to val/mse", "val/mse variation", "train/loss std"} < set(table.measure)
    assert not table.measure.str.contains("acc|test").any()
    assert (tmp_path / "outputs/sweeps/a/report.html").is_file()


def test_a_search_for_what_is_declared(tmp_path):
    words = ["hydra/sweeper=optuna", "name=a", "hydra.sweeper.n_trials=2", "+module.lr=interval(0.1,0.2)"]
    done = run_apart("train.py", "-m", *LINE, *words, "hydra.sweeper.fresh_seeds=0", "metric=val/fit", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 trials gave val/fit" in done.stdout
    refused = run_apart("train.py", "-m", *LINE, *words, "hydra.sweeper.objective=val/acc", cwd=tmp_path)
    assert "error: hydra.sweeper.objective=val/acc: must be among val/mse, val/fit, seconds" in refused.stderr


def test_a_loss_that_is_not_finite_ends_it(tmp_path):
    done = trained(tmp_path, "module._target_=support.own.Explodes")
    assert done.returncode == 1
    assert "error: train/loss inf at step 7" in done.stderr
    assert read(tmp_path / "outputs/runs/a/record.json").outcome.status == "diverged"


def test_it_can_train_a_network_of_ours(tmp_path):
    words = ["module._target_=support.own.Wraps", "+module.model=${model}", "model=mlp", "model.hidden=[8]"]
    measured = ["data=digits", "metrics={val/mse: lower}", "metric=val/mse", "trainer.max_epochs=1", "optimizer=sgd"]
    done = run_apart("train.py", *words, *measured, "hydra.run.dir=outputs/runs/a", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Wraps, 6,372 parameters" in done.stdout  # those of a network in the data's sizes, and of a line
    evaluated = run_apart("scripts/evaluate.py", "--trust", "outputs/runs/a", cwd=tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr


def test_train_loss_is_the_mean_whatever_the_module_logs_under_that_name(tmp_path):
    words = ["module._target_=support.own.LogsItsLoss", "metrics={val/mse: lower, val/seldom: lower, val/auc: higher}"]
    done = trained(tmp_path, *words, "trainer.num_sanity_val_steps=1")
    assert done.returncode == 0, done.stderr
    record = read(tmp_path / "outputs/runs/a/record.json")
    told = float(done.stdout.partition("mean of the losses ")[2].split()[0])
    assert_allclose(sum(row["train/loss"] for row in record.progress.epochs) / 3, told, rtol=1e-5)
    assert "train/loss" in pd.read_csv(tmp_path / "outputs/runs/a/metrics.csv")
    # What was not measured in an epoch has no value there, and what is no number is only not known.
    assert [row.get("val/seldom") for row in record.progress.epochs] == [0, None, 2]
    assert record.outcome.status == "completed"
    assert record.outcome.final["val/auc"] is None


def test_what_was_logged_before_a_stop_is_not_missed_after_it(tmp_path):
    words = [
        "module._target_=support.own.LogsItsLoss",
        "+module.stop_at=8",
        "metrics={val/mse: lower, train/early: lower}",
    ]
    assert trained(tmp_path, *words).returncode == 143
    again = run_apart("train.py", "resume=outputs/runs/a", "trust=true", cwd=tmp_path)
    assert again.returncode == 0, again.stderr


def test_layers_that_are_made_late_can_be_used_afterwards(tmp_path):
    done = trained(tmp_path, "module._target_=support.own.Late")
    assert done.returncode == 0, done.stderr
    record = read(tmp_path / "outputs/runs/a/record.json")
    assert record.plan.parameters == 2
    evaluated = run_apart("scripts/evaluate.py", "--trust", "outputs/runs/a", cwd=tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr
    assert f"test_mse {record.outcome.final['test_mse']}" in evaluated.stdout
    found = run_apart(
        "scripts/find_lr.py", *LINE[:6], "module._target_=support.own.Late", "--steps", "40", cwd=tmp_path
    )
    assert "error: unexpected" not in found.stderr


def test_what_has_no_test_is_not_evaluated(tmp_path):
    assert trained(tmp_path, "module._target_=support.own.Untested", "metrics={val/mse: lower}").returncode == 0
    done = run_apart("scripts/evaluate.py", "--trust", "outputs/runs/a", cwd=tmp_path)
    assert "cannot be tested: Untested has no test_step" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_range_test_begins_where_it_says(tmp_path):
    words = [*LINE[:6], "module._target_=support.own.Groups", "--steps", "40", "--low", "1e-3", "--high", "1"]
    done = run_apart("scripts/find_lr.py", *words, cwd=tmp_path)
    assert "first rates [0.001, 0.0005]" in done.stdout
    assert "rate of its first parameter group: " in done.stdout
    refused = run_apart("scripts/find_lr.py", *words, "--apply", cwd=tmp_path)
    assert "error: --apply: cannot be combined with optimizer=own" in refused.stderr


def test_metrics_that_were_declared_the_wrong_way_round_are_set_right_without_training(tmp_path):
    sweep = ["-m", *(word for word in LINE if not word.startswith("metrics")), "schedule=constant,cosine", "name=a"]
    for direction, measure in (("higher", False), ("lower", True)):
        words = [f"metrics={{val/mse: {direction}}}", *(["seed=1,2"] if measure else ["seed=1"])]
        done = run_apart("train.py", *sweep, *words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        table = pd.read_csv(tmp_path / "outputs/sweeps/a/comparison.csv")
        assert ("val/mse rise" in set(table.measure)) == measure
    records = [read(path) for path in (tmp_path / "outputs/sweeps/a").glob("*/record.json")]
    assert {record.plan.config["metrics"]["val/mse"] for record in records} == {"lower"}
    assert len(records) == 4


def test_processes_agree_on_what_they_have_measured(tmp_path):
    words = [
        "module._target_=support.own.ByRank",
        "metrics={val/mse: lower}",
        "trainer=ddp_cpu",
        "trainer.max_epochs=3",
    ]
    scaled = ["scale=plateau", "scale.metric=val/mse", "scale.patience=0", "scale.threshold=0"]
    done = trained(tmp_path, *words, *scaled)
    assert done.returncode == 0, done.stderr
    record = read(tmp_path / "outputs/runs/a/record.json")
    assert [row["val/mse"] for row in record.progress.epochs] == [1, 1, 1]  # 1 ± the epoch
    text = done.stdout + done.stderr
    ends = {text.partition(f"rank {rank} ends at ")[2].split()[0] for rank in (0, 1)}
    assert len(ends) == 1


OWN = "module._target_=support.own."
BACK = "optimizer=own: Returns's configure_optimizers must return "
LOGGED = "must be logged by Line, by self.log with on_epoch=True; it has logged"
REFUSED = {
    f"{OWN}ByHand": "module: ByHand uses manual optimization, whose steps cannot be counted in advance; "
    "use lrdecay.adapters.lightning.ScheduleCallback with a trainer of your own",
    f"{OWN}Unvalidated": "module: Unvalidated must have a validation_step, by whose metrics runs are judged",
    f"{OWN}Named": "module: Named must have no attribute called course, which is added here",
    f"{OWN}Points": "module: must be one of its choices, or of type LightningModule, not Points",
    f"{OWN}Nothing": "module: Error loading 'support.own.Nothing'",
    f"{OWN}Returns|+module.what=scheduler": BACK + "its optimizer without a scheduler",
    f"{OWN}Returns|+module.what=pair with scheduler": BACK + "its optimizer without a scheduler",
    f"{OWN}Returns|+module.what=two": BACK + "one optimizer, not 2 of them",
    f"{OWN}Returns|+module.what=none": BACK + "one optimizer, not NoneType",
    "metrics={val/mse: lower, val/mae: lower}": f"metrics.val/mae: {LOGGED}",
    "metrics={val/mse: lower, train/mae: lower}": f"metrics.train/mae: {LOGGED}",
    "metrics={val/mse: down}": "metrics.val/mse.better=down: must be lower or higher",
    "metrics={val/mse: {percent: true}}": "metrics.val/mse: must say which values are better, lower or higher",
    "metrics={val/mse: {better: lower, unit: m}}": "metrics.val/mse.unit: must be one of better, split, percent",
    "metrics={mse: lower}": "metrics.mse: must begin with train, val or test, or say where it is measured: {better",
    "metrics={test_mse: lower}": "metrics: must have one of validation, such as val/loss: lower, to judge runs by",
    "metrics=[val/mse]": "metrics=['val/mse']: must be a mapping such as {val/rmse: lower}",
    "metrics=null": "metric=val/mse: must be one of val/acc, val/loss",
    "metric=test_mse": "metric=test_mse: must be one of val/mse, val/fit",
    "module._target_=null": "metrics: must be null without module=, since those of a classifier are known",
    "module._target_=null|metrics=null|metric=val/acc": "optimizer=own: must come with module=, which has one",
    "+optimizer.lr=9": "optimizer.lr: must be left to the module with optimizer=own",
    "module._target_=null|metrics=null|metric=val/acc|optimizer=adam|+module.width=4": "module.width: must come with",
    f"{OWN}SavesAnything": "module: what SavesAnything's on_save_checkpoint adds must be tensors and plain values, to",
    "label_smoothing=0.1": "label_smoothing=0.1: must be 0 with module=, whose loss is its own",
    "scale=plateau": "scale.metric=val/loss: must be one of val/mse, val/fit, train/last, train/loss",
    "callbacks.checkpoints.monitor=f1": "callbacks.checkpoints.monitor=f1: must be one of val/mse, val/fit, or null",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_be_is_said_in_a_line(words, tmp_path):
    done = trained(tmp_path, *words.split("|"))
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert line.startswith(f"error: {REFUSED[words]}")


def test_a_test_metric_that_is_missing_costs_no_training(tmp_path):
    done = trained(tmp_path, "metrics={val/mse: lower, test/mse: lower}")
    assert done.returncode == 0
    assert "metrics.test/mse: must be logged by Line" in done.stdout + done.stderr
    assert read(tmp_path / "outputs/runs/a/record.json").outcome.status == "completed"


def test_runs_that_contradict_each_other_are_not_compared(tmp_path):
    assert trained(tmp_path, "metrics={val/mse: lower}", name="a").returncode == 0
    assert trained(tmp_path, "metrics={val/mse: higher}", "schedule=cosine", name="b").returncode == 0
    done = run_apart("scripts/compare.py", "outputs/runs", cwd=tmp_path)
    assert done.returncode == 1
    assert "error: metrics.val/mse: is better lower in some of the runs and higher in others" in done.stderr


def test_the_same_run_with_other_words_for_its_metrics_is_no_other(tmp_path):
    for name, words in {"a": [], "b": ["metrics={val/mse: lower}"], "c": ["+module.lr=0.3"]}.items():
        assert trained(tmp_path, *words, name=name).returncode == 0
    hashes = [read(tmp_path / f"outputs/runs/{name}/record.json").result_hash for name in "abc"]
    assert hashes[0] == hashes[1] != hashes[2]


def test_lightning_under_its_other_name_is_named(tmp_path):
    pytest.importorskip("lightning", reason="the oracles extra is not installed")
    done = trained(tmp_path, "module._target_=support.other_lightning.Module")
    assert done.returncode == 1
    assert "error: module: Module must be a pytorch_lightning.LightningModule, and is one of lightning" in done.stderr
