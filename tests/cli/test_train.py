"""``train.py`` as a user runs it: one run, every way to configure it, sweeps, and mistakes."""

import csv
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hydra.utils import instantiate
from support.programs import NO_NETWORK, ROOT, fresh, run_apart
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from lrdecay import machine
from lrdecay.data import Digits
from lrdecay.records.record import Record, read
from lrdecay.schedules import Cosine, Horizon
from lrdecay.training.models import MLP
from lrdecay.training.module import Classifier

SHORT = "trainer.max_epochs=2"


def only_run(folder: Path) -> Path:
    (run,) = (folder / "outputs/runs").iterdir()
    return run


def record_of(folder: Path) -> Record:
    return read(only_run(folder) / "record.json")


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def cosine(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """One run of two epochs: its folder, and what it printed."""
    folder = tmp_path_factory.mktemp("cosine")
    done = run_apart("train.py", "data=digits", "schedule=cosine", "trainer.max_epochs=2", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return only_run(folder), done.stdout


class TestOneRun:
    def test_says_what_it_did_in_a_few_lines(self, cosine):
        run, printed = cosine
        assert len(printed.splitlines()) == 4 + machine.has_bf16_units(), "and a hint there"
        assert re.search(r"^cosine · adam lr 0.001 · cnn, 693,962 parameters$", printed, re.MULTILINE)
        assert re.search(
            rf"^digits: test/acc \d\d\.\d\d% .* → outputs/runs/{re.escape(run.name)}$", printed, re.MULTILINE
        )

    def test_leaves_everything_in_its_folder(self, cosine):
        run, _ = cosine
        expected = {".hydra", "train.log", "metrics.csv", "checkpoints", "lr.png", "record.json", "hparams.yaml"}
        assert expected <= {path.name for path in run.iterdir()}
        assert {path.name for path in (run / "checkpoints").iterdir()} == {"last.ckpt", "best.ckpt"}
        assert (run / "lr.png").read_bytes().startswith(b"\x89PNG")
        assert "=" not in run.name

    def test_the_last_checkpoint_is_of_the_end_whichever_epoch_was_best(self, train, tmp_path):
        done = train("schedule=constant", "model=mlp", "trainer.max_epochs=8", "optimizer.lr=0.05")
        assert done.returncode == 0, done.stderr
        assert record_of(tmp_path).outcome.best["epoch"] < 7
        last, best = (only_run(tmp_path) / "checkpoints" / name for name in ("last.ckpt", "best.ckpt"))
        assert torch.load(last, weights_only=True)["global_step"] == 8 * 18
        assert torch.load(best, weights_only=True)["global_step"] == record_of(tmp_path).outcome.best["step"] + 1

    def test_the_record(self, cosine):
        run, _ = cosine
        record = read(run / "record.json")
        assert (record.outcome.status, record.outcome.error, record.plan.data, record.plan.device) == (
            "completed",
            None,
            "digits",
            "cpu",
        )
        assert (record.plan.total_steps, record.plan.steps_per_epoch) == (36, 18)
        assert [row["step"] for row in record.progress.epochs] == [17, 35]
        assert record.outcome.final.keys() == {
            f"{part}/{m}" for part in ("train", "val", "test") for m in ("loss", "acc")
        }
        assert record.outcome.best in record.progress.epochs
        assert record.plan.config["schedule"]["_target_"] == "lrdecay.schedules.Cosine"
        assert record.progress.seconds > 0

    def test_metrics_and_record_agree(self, cosine):
        run, _ = cosine
        logged = rows(run)
        epochs = read(run / "record.json").progress.epochs
        assert [float(row["val/acc"]) for row in logged if row["val/acc"]] == [row["val/acc"] for row in epochs]
        assert [float(row["train/loss"]) for row in logged if row["train/loss"]] == [
            row["train/loss"] for row in epochs
        ]

    def test_tensorboard_reads_its_curves(self, cosine):
        run, _ = cosine
        events = EventAccumulator(str(run)).Reload()
        tags = {"lr", *(f"{part}/{metric}" for part in ("train", "val", "test") for metric in ("loss", "acc"))}
        assert tags <= set(events.Tags()["scalars"])
        assert "hp_metric" not in events.Tags()["scalars"]
        assert [event.step for event in events.Scalars("val/acc")] == [17, 35]
        assert [event.step for event in events.Scalars("lr")] == [17, 35]
        assert [event.step for event in events.Scalars("test/acc")] == [35]

    def test_tensorboard_puts_train_and_validation_in_one_chart(self, cosine):
        run, _ = cosine
        events = EventAccumulator(str(run)).Reload()
        layout = layout_pb2.Layout()
        layout.ParseFromString(events.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
        charts = {chart.title: list(chart.multiline.tag) for chart in layout.category[0].chart}
        assert charts["loss"] == ["train/loss", "val/loss"]
        assert charts["accuracy"] == ["train/acc", "val/acc"]

    def test_tensorboard_has_the_hyperparameters_with_real_metrics(self, cosine):
        run, _ = cosine
        content = EventAccumulator(str(run)).Reload().summary_metadata
        start = plugin_data_pb2.HParamsPluginData.FromString(
            content["_hparams_/session_start_info"].plugin_data.content
        ).session_start_info
        assert start.hparams["schedule"].string_value == "cosine"
        assert start.hparams["optimizer.lr"].number_value == 0.001
        experiment = plugin_data_pb2.HParamsPluginData.FromString(
            content["_hparams_/experiment"].plugin_data.content
        ).experiment
        assert {info.name.tag for info in experiment.metric_infos} >= {"val/acc", "test/acc", "val/loss"}


CATALOGUE = sorted(path.stem for path in (ROOT / "conf/schedule").glob("*.yaml"))


@pytest.mark.parametrize(
    ("accumulate", "varied"),
    [
        (1, [f"schedule={','.join(name for name in CATALOGUE if name not in ('torch', 'plateau', 'greedy'))}"]),
        (3, ["schedule=constant,step,exponential,cosine", "schedule.warmup=0,3", "schedule.sample_every=1,0.5ep"]),
        (4, ["schedule=step,wsd,onecycle", "schedule.hold=2", "schedule.sample_every=1,0.5ep"]),
    ],
)
def test_the_rate_of_every_step_is_the_schedules(train, tmp_path, accumulate, varied):
    """For every schedule. Of 18 batches an epoch, accumulating 3 makes 6 steps and 4 makes 5, the last one short."""
    done = train(
        "-m", *varied, "model=mlp", "trainer.max_epochs=4", "trainer.log_every_n_steps=1",
        f"trainer.accumulate_grad_batches={accumulate}",
        "optimizer.lr=0.003", "logger=csv", "callbacks=none", "name=rates",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    jobs = sorted((tmp_path / "outputs/sweeps/rates").glob("*/record.json"))
    assert len(jobs) == {1: len(CATALOGUE) - 3, 3: 16, 4: 6}[accumulate]
    per_epoch = {1: 18, 3: 6, 4: 5}[accumulate]
    horizon = Horizon(total_steps=4 * per_epoch, steps_per_epoch=per_epoch)
    for job in jobs:
        schedule = instantiate(read(job).plan.config["schedule"])
        logged = [(int(row["step"]), float(row["lr"])) for row in rows(job.parent) if row["lr"]]
        assert [step for step, _ in logged] == list(range(horizon.total_steps))
        expected = 0.003 * schedule.factor(range(horizon.total_steps), horizon)
        np.testing.assert_allclose([rate for _, rate in logged], expected, rtol=1e-12, atol=0, err_msg=job.parent.name)
        momentum = [float(row["momentum"]) for row in rows(job.parent) if row.get("momentum")]
        if schedule.momentum is not None:
            expected = schedule.momentum_at(range(horizon.total_steps), horizon)
            np.testing.assert_allclose(momentum, expected, rtol=1e-12, atol=0, err_msg=job.parent.name)
        else:
            assert momentum == []


class TestBeyondThePureSchedule:
    """What follows a metric, what torch schedules, and what trains without a schedule."""

    def test_plateau_falls_as_torchs_would_on_the_same_metric(self, train, tmp_path):
        done = train(
            "schedule=cosine", "scale=plateau", "scale.patience=0", "scale.threshold=0.05", "scale.factor=0.5",
            "model=mlp", "trainer.max_epochs=8", "optimizer.lr=0.01", "trainer.log_every_n_steps=1", "logger=csv",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("cosine × plateau")
        logged = rows(only_run(tmp_path))
        losses = [float(row["val/loss"]) for row in logged if row["val/loss"]]
        rates = np.array([float(row["lr"]) for row in logged if row["lr"]]).reshape(8, 18)
        reference = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(reference, factor=0.5, patience=0, threshold=0.05)
        scales = []
        for loss in losses:
            scales.append(reference.param_groups[0]["lr"])
            plateau.step(loss)
        assert scales[-1] < 1
        pure = 0.01 * Cosine().factor(np.arange(8 * 18), Horizon(8 * 18, 18)).reshape(8, 18)
        np.testing.assert_allclose(rates, pure * np.array(scales)[:, None], rtol=1e-12)
        record = record_of(tmp_path)
        assert [rate for _, rate in record.progress.rates] == rates.ravel().tolist()
        checkpoint = torch.load(only_run(tmp_path) / "checkpoints/last.ckpt", weights_only=True)
        assert checkpoint["lrdecay"]["scale"]["value"] <= scales[-1]

    def test_a_scheduler_that_ends_too_early_is_one_line(self, train):
        done = train(
            *f"{TORCH}.OneCycleLR".split(), "+schedule.scheduler.max_lr=0.01",
            "+schedule.scheduler.total_steps=10", "model=mlp", SHORT,
        )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr.startswith("error: schedule.scheduler: Tried to step 11 times")
        assert len(done.stderr.splitlines()) == 1

    def test_with_a_scale_against_without(self, train, tmp_path):
        done = train("-m", "schedule=constant", "scale=none,plateau", "scale.patience=0", "model=mlp", SHORT, "name=s")
        assert done.returncode == 1  # none has no patience
        done = train("-m", "schedule=constant", "scale=none,plateau", "model=mlp", SHORT, "name=scales")
        assert done.returncode == 0, done.stderr
        folders = sorted(path.name for path in (tmp_path / "outputs/sweeps/scales").iterdir() if path.is_dir())
        assert folders == ["01_none", "02_plateau"]
        assert "digits: 2 runs in 2 groups" in done.stdout

    def test_a_schedule_that_changes_nothing_is_said(self, train):
        done = train("schedule=step", "schedule.every=30ep", "model=mlp", SHORT)
        assert done.returncode == 0
        assert done.stderr.startswith("WARNING: schedule: the rate never changes in this run of 36 steps: Step(")

    def test_greedy_rises_while_the_training_loss_falls(self, train, tmp_path):
        assert train("schedule=greedy", "scale.metric=train/loss", "model=mlp", SHORT).returncode == 0
        epochs = record_of(tmp_path).progress.epochs
        assert epochs[1]["lr"] == pytest.approx(epochs[0]["lr"] / 0.95)

    @pytest.mark.parametrize(("interval", "every"), [("epoch", "1ep"), ("step", 7)])
    def test_a_scheduler_of_torchs_trains_as_ours_does(self, train, tmp_path, interval, every):
        size = 1 if interval == "epoch" else every
        theirs = [
            "schedule=torch", "schedule.scheduler._target_=torch.optim.lr_scheduler.StepLR",
            f"+schedule.scheduler.step_size={size}", "+schedule.scheduler.gamma=0.5", f"schedule.interval={interval}",
        ]  # fmt: skip
        for overrides in (theirs, ["schedule=step", f"schedule.every={every}", "schedule.gamma=0.5"]):
            done = train(*overrides, "model=mlp", SHORT)
            assert done.returncode == 0, done.stderr
        torchs, ours = (read(path) for path in sorted(tmp_path.glob("outputs/runs/*/record.json")))
        assert (torchs.plan.choices["schedule"], ours.plan.choices["schedule"]) in {
            ("torch", "step"),
            ("step", "torch"),
        }
        assert torchs.outcome.final == pytest.approx(ours.outcome.final, rel=1e-6)
        assert torchs.progress.rates == ours.progress.rates

    @pytest.mark.parametrize("optimizer", ["schedule_free_sgd", "schedule_free_adamw"])
    def test_schedule_free_weights_are_averages(self, train, tmp_path, optimizer):
        for often in (1, 3):
            done = train(
                f"optimizer={optimizer}", "schedule.warmup=5%", "model=mlp", "trainer.max_epochs=3", "logger=none",
                f"trainer.check_val_every_n_epoch={often}",
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
        runs = sorted((tmp_path / "outputs/runs").iterdir())
        first, second = (read(run / "record.json") for run in runs)
        assert first.outcome.final == second.outcome.final  # looking at the average does not disturb the training
        saved = torch.load(runs[0] / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        module = Classifier(MLP(), Cosine(), lambda model: torch.optim.SGD(model.parameters(), lr=1))
        module.load_state_dict(saved)
        data = Digits(resample=True)
        data.prepare(seed=1, device=torch.device("cpu"))
        images, labels = data._splits["val"]
        right = (module(images / 255).argmax(dim=1) == labels).float().mean()
        assert float(right) == pytest.approx(first.outcome.final["val/acc"])
        loss = torch.nn.functional.cross_entropy(module(images / 255), labels).detach()
        assert float(loss) == pytest.approx(first.outcome.final["val/loss"], rel=1e-5)


class TestConfiguration:
    """Every choice of every group, and classes of one's own."""

    def test_optimizers(self, train, tmp_path):
        names = sorted(path.stem for path in (ROOT / "conf/optimizer").glob("*.yaml") if path.stem != "own")
        assert {"sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop", "adagrad"} <= set(names)
        done = train("-m", f"optimizer={','.join(names)}", "trainer.max_epochs=1", "model=mlp", "name=all")
        assert done.returncode == 0, done.stderr
        records = [read(path) for path in (tmp_path / "outputs/sweeps/all").glob("*/record.json")]
        assert len({record.outcome.final["val/loss"] for record in records}) == len(names)
        for path in (tmp_path / "outputs/sweeps/all").glob("*/checkpoints/last.ckpt"):
            assert torch.load(path, weights_only=True)["global_step"] == 18, "plain values only"

    def test_a_class_of_ones_own_in_every_group(self, train, tmp_path):
        (tmp_path / "mine.py").write_text(
            "import torch\n"
            "from dataclasses import dataclass\n"
            "from lrdecay.data import Digits\n"
            "from lrdecay.schedules import Schedule\n"
            "@dataclass(frozen=True, kw_only=True)\n"
            "class Cubic(Schedule):\n"
            "    def shape(self, u, decay_steps, horizon):\n"
            "        return (1 - u / decay_steps) ** 3\n"
            "class Linear(torch.nn.Sequential):\n"
            "    def __init__(self):\n"
            "        super().__init__(torch.nn.Flatten(), torch.nn.Linear(784, 10))\n"
            "class Few(Digits):\n"
            "    name = 'few'\n"
            "    def load(self):\n"
            "        (x, y), test = super().load()\n"
            "        return (x[:500], y[:500]), test\n"
        )
        (tmp_path / "conf/model").mkdir(parents=True)
        (tmp_path / "conf/model/linear.yaml").write_text("_target_: mine.Linear\n")
        done = train(
            "--config-dir", "conf", "schedule._target_=mine.Cubic", "model=linear", "data._target_=mine.Few",
            "optimizer=rmsprop", "optimizer._target_=torch.optim.Adamax", "~optimizer.alpha", "~optimizer.momentum",
            SHORT, PYTHONPATH=str(tmp_path),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        record = record_of(tmp_path)
        assert (record.plan.data, record.plan.parameters, record.plan.sizes["train"]) == ("few", 7850, 400)
        assert record.progress.rates[7][1] == pytest.approx(0.001 * (1 - 7 / 14) ** 3)

    def test_a_lightning_data_module_of_ones_own_with_a_data_loader(self, train, tmp_path):
        (tmp_path / "mine.py").write_text(
            "import torch, pytorch_lightning as pl\n"
            "from torch.utils.data import DataLoader, TensorDataset\n"
            "class Noise(pl.LightningDataModule):\n"
            "    def train_dataloader(self):\n"
            "        x = torch.rand(64, 1, 28, 28)\n"
            "        return DataLoader(TensorDataset(x, torch.arange(64) % 10), 16)\n"
            "    val_dataloader = test_dataloader = train_dataloader\n"
        )
        (tmp_path / "conf/data").mkdir(parents=True)
        (tmp_path / "conf/data/noise.yaml").write_text("_target_: mine.Noise\n")
        arguments = ["--config-dir", "conf", "data=noise", "model=mlp", SHORT]
        done = run_apart("train.py", *arguments, cwd=tmp_path, PYTHONPATH=str(tmp_path))
        assert done.returncode == 0, done.stderr
        assert (record_of(tmp_path).plan.data, record_of(tmp_path).plan.total_steps) == ("Noise", 8)

    def test_gradients_are_clipped(self, train, tmp_path):
        """To nothing, so that nothing is learned."""
        done = train("optimizer=sgd", "trainer.gradient_clip_val=1e-12", SHORT)
        assert done.returncode == 0, done.stderr
        losses = {row["val/loss"] for row in record_of(tmp_path).progress.epochs}
        assert max(losses) - min(losses) < 1e-6

    def test_clipping_precision_and_a_length_in_steps(self, train, tmp_path):
        done = train(
            "trainer.gradient_clip_val=0.5", "trainer.precision=bf16-mixed", "schedule=cosine",
            "trainer.max_epochs=-1", "trainer.max_steps=25",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        record = record_of(tmp_path)
        assert record.plan.total_steps == 25
        assert record.progress.epochs[-1]["step"] == 24
        assert record.outcome.final["val/loss"] != record.progress.epochs[-2]["val/loss"]

    def test_half_precision_counts_right(self, train, tmp_path):
        assert train("trainer.precision=bf16-true", "schedule=cosine", SHORT).returncode == 0
        right = record_of(tmp_path).outcome.final["val/acc"] * 288
        assert right > 0.8 * 288
        assert right == pytest.approx(round(right))

    def test_sanity_validation_is_not_a_result(self, train, tmp_path):
        assert train("trainer.num_sanity_val_steps=2", SHORT, "model=mlp").returncode == 0
        assert [row["step"] for row in rows(only_run(tmp_path)) if row["val/acc"]] == ["17", "35"]

    def test_seed_zero_is_a_seed_and_repeats(self, train, tmp_path):
        for _ in range(2):
            assert train("seed=0", SHORT).returncode == 0
        first, second = (read(path) for path in tmp_path.glob("outputs/runs/*/record.json"))
        assert first.outcome.final == second.outcome.final
        assert first.result_hash == second.result_hash

    @pytest.mark.parametrize("debug", ["fast_dev_run", "limit", "overfit", "profile"])
    def test_debug(self, train, tmp_path, debug):
        done = train(f"debug={debug}", "model=mlp")
        assert done.returncode == 0, done.stderr
        record = record_of(tmp_path)
        assert record.plan.total_steps == {"fast_dev_run": 1, "limit": 20, "overfit": 100, "profile": 18}[debug]
        if debug == "overfit":
            assert record.outcome.final["train/acc"] == 1
        if debug == "profile":
            assert "run_training_batch" in (only_run(tmp_path) / "fit-profile.txt").read_text()

    @pytest.mark.parametrize("logger", ["none", "csv", "tensorboard"])
    def test_loggers(self, train, tmp_path, logger):
        assert train(f"logger={logger}", SHORT).returncode == 0
        names = {path.name.split(".")[0] for path in only_run(tmp_path).iterdir()}
        assert ("metrics" in names, "events" in names) == (logger == "csv", logger == "tensorboard")
        assert len(record_of(tmp_path).progress.epochs) == 2

    def test_wandb_offline(self, train, tmp_path):
        pytest.importorskip("wandb", reason="the wandb extra is not installed")
        offline = ["logger=wandb", "logger.wandb.offline=true", "model=mlp", SHORT, "name=wandb"]
        done = train("-m", "seed=1,2", *offline, WANDB_SILENT="true", **NO_NETWORK)
        assert done.returncode == 0, done.stderr
        for job in ("01_seed-1", "02_seed-2"):
            assert list((tmp_path / "outputs/sweeps/wandb" / job).glob("wandb/offline-run-*/run-*.wandb"))

    def test_mlflow_in_a_local_file(self, train, tmp_path):
        mlflow = pytest.importorskip("mlflow", reason="the mlflow extra is not installed")
        done = train("logger=mlflow", "schedule=cosine", SHORT, **NO_NETWORK)
        assert done.returncode == 0, done.stderr
        client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/outputs/mlflow.db")
        (run,) = client.search_runs([client.get_experiment_by_name("lrdecay").experiment_id])
        assert run.data.params["schedule"] == "cosine"
        assert run.data.metrics["val/acc"] == pytest.approx(record_of(tmp_path).outcome.final["val/acc"])

    def test_early_stopping(self, train, tmp_path):
        stopping = ["callbacks=early_stopping", "callbacks.early_stopping.patience=1", "metric=val/loss"]
        assert train(*stopping, "model=mlp", "optimizer=sgd", "optimizer.lr=1e-30").returncode == 0
        assert len(record_of(tmp_path).progress.epochs) == 2

    def test_two_processes_train_as_one_does(self, train, tmp_path):
        # Of the 359 test images the last batch has one, and the second process none.
        words = ["schedule=cosine", SHORT, "data.eval_batch_size=179", "name=pair"]
        done = train("-m", "trainer=cpu,ddp_cpu", *words, OMP_NUM_THREADS="")
        assert done.returncode == 0, done.stderr
        one, two = (read(path) for path in sorted((tmp_path / "outputs/sweeps/pair").glob("*/record.json")))
        assert one.progress.epochs[-1]["step"] == two.progress.epochs[-1]["step"] == 35
        for metric in ("val/loss", "test/acc", "train/loss"):
            assert one.outcome.final[metric] == pytest.approx(two.outcome.final[metric], rel=0.02)
        assert not (tmp_path / "outputs/runs").exists()

    def test_two_processes_that_fail_do_not_take_the_sweep_with_them(self, train, tmp_path):
        (tmp_path / "conf/model").mkdir(parents=True)
        (tmp_path / "conf/model/tiny.yaml").write_text("_target_: lrdecay.training.models.MLP\nhidden: [4]\n")
        done = train(
            "-m", "--config-dir", "conf", "trainer=ddp_cpu", "model=tiny", "optimizer=sgd", "optimizer.lr=1e20,0.01",
            "schedule.warmup=0,100%", "schedule.hold=1", "trainer.max_epochs=1", "name=failing", "data.resample=false",
            OMP_NUM_THREADS="",
        )  # fmt: skip
        assert done.returncode == 1
        records = [read(path) for path in sorted((tmp_path / "outputs/sweeps/failing").glob("*/record.json"))]
        assert [record.outcome.status for record in records] == ["diverged", "failed", "completed", "failed"]
        assert "error: 3 of 4 jobs did not complete" in done.stderr
        assert "Traceback" not in done.stderr

    def test_mnist(self, tmp_path, mnist_root):
        arguments = ["data=mnist", "data.train_size=640", "trainer.max_epochs=1", "model=mlp"]
        done = run_apart("train.py", *arguments, cwd=tmp_path, LRDECAY_DATA=str(mnist_root))
        assert done.returncode == 0, done.stderr
        assert record_of(tmp_path).plan.data == "mnist"
        assert record_of(tmp_path).plan.sizes == {"train": 640, "val": 12_000, "test": 10_000}
        assert "mnist, 640 / 12,000 / 10,000 images" in done.stdout


class TestSweep:
    def test_announces_each_job_and_compares(self, sweep):
        folder, done = sweep
        assert done.returncode == 0, done.stderr
        for number, job in enumerate(["cosine seed=1", "cosine seed=2", "step seed=1", "step seed=2"], start=1):
            assert re.search(rf"^\[{number}/4\] {job}$", done.stdout, re.MULTILINE)
            assert re.search(rf"^\[{number}/4\] {job}: test/acc .*val/loss", done.stdout, re.MULTILINE)
        assert re.search(r"^\[3/4\].* · 0:\d\d left$", done.stdout, re.MULTILINE)
        assert "digits: 4 runs in 2 groups" in done.stdout
        assert {path.name for path in folder.glob("comparison.*")} == {"comparison.csv", "comparison.png"}

    def test_names_its_folders_by_what_varied(self, sweep):
        folder, _ = sweep
        names = sorted(path.name for path in folder.iterdir() if path.is_dir())
        assert names == ["01_cosine_seed-1", "02_cosine_seed-2", "03_step_seed-1", "04_step_seed-2"]

    def test_groups_the_seeds(self, sweep):
        folder, _ = sweep
        with (folder / "comparison.csv").open() as file:
            table = [row for row in csv.DictReader(file) if row["measure"] == "val/acc"]
        assert [(row["group"], row["n"], row["data"]) for row in table] == [
            ("cosine", "2", "digits"),
            ("step", "2", "digits"),
        ]
        runs = [
            read(folder / name / "record.json").outcome.final["val/acc"]
            for name in ("01_cosine_seed-1", "02_cosine_seed-2")
        ]
        assert float(table[0]["mean"]) == pytest.approx(np.mean(runs))

    def test_a_failing_job_does_not_stop_the_others(self, train, tmp_path):
        done = train("-m", "model=mlp", "model.hidden=[8],[0],[4]", SHORT, "name=failing")
        assert done.returncode == 1
        assert "[2/3] model.hidden=[0]: failed: model.hidden=0: must be an integer, at least 1" in done.stdout
        assert "error: 1 of 3 jobs did not complete" in done.stderr
        assert "0 of 1 (1 failed)" in done.stdout
        sweep = tmp_path / "outputs/sweeps/failing"
        assert [read(path).outcome.status for path in sorted(sweep.glob("*/record.json"))] == [
            "completed",
            "failed",
            "completed",
        ]
        failed = read(sweep / "02_hidden-0/record.json")
        assert "Traceback" in failed.outcome.traceback
        assert "Traceback" in (sweep / "02_hidden-0/train.log").read_text()

    def test_a_diverging_job_is_recorded_as_such(self, train, tmp_path):
        done = train("-m", "optimizer=sgd", "optimizer.lr=0.01,1e20", SHORT, "name=diverging")
        assert done.returncode == 1
        assert re.search(
            r"1e\+20: diverged: train/loss nan at step 17, learning rate 1e\+20; no finite one before", done.stdout
        )
        assert "0 of 1 (1 diverged)" in done.stdout
        diverged = read(tmp_path / "outputs/sweeps/diverging/02_lr-1e+20/record.json")
        assert diverged.progress.rates[:2] == [(0, 1e20), (1, 1e20)]

    def test_a_loss_that_only_validation_sees_explode_is_divergence_too(self, train, tmp_path):
        done = train("optimizer=sgd", "optimizer.lr=1e20", "trainer.max_epochs=-1", "trainer.max_steps=1")
        assert done.returncode == 1
        assert re.search(
            r"^error: val/loss (nan|inf) at step 0, learning rate 1e\+20; last finite 2\.\d+ at step 0$",
            done.stderr,
            re.MULTILINE,
        )
        assert record_of(tmp_path).outcome.status == "diverged"

    def test_a_job_whose_configuration_cannot_be_resolved_leaves_its_record(self, train, tmp_path):
        done = train("-m", "trainer.max_epochs=${nope},1", "model=mlp", "name=gap")
        assert done.returncode == 1
        assert "error: 1 of 2 jobs did not complete" in done.stderr
        records = [read(path) for path in sorted((tmp_path / "outputs/sweeps/gap").glob("*/record.json"))]
        assert [record.outcome.status for record in records] == ["failed", "completed"]
        assert "'nope' not found" in records[0].outcome.error

    @pytest.mark.parametrize("mistake", ["output_dir=/proc/nowhere", "name=a/b", "schedule=sawtooth,step", "name=it's"])
    def test_a_mistake_is_one_line_in_a_sweep_too(self, train, tmp_path, mistake):
        done = train("-m", "seed=1,2", mistake)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert done.stderr.startswith("error: ")
        assert not list(tmp_path.rglob("record.json"))

    def test_experiments_carry_their_own_sweep(self, tmp_path):
        arguments = ["-m", "experiment=article", "data=digits", "trainer.max_epochs=1", "seed=1,2", "model=mlp"]
        done = run_apart("train.py", *arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "digits: 8 runs in 4 groups" in done.stdout

    def test_launches_in_the_same_second_get_folders_of_their_own(self, train, tmp_path):
        with ThreadPoolExecutor() as pool:
            launches = [pool.submit(train, "debug=fast_dev_run", "model=mlp") for _ in range(3)]
            assert [launch.result().returncode for launch in launches] == [0, 0, 0]
        runs = list((tmp_path / "outputs/runs").iterdir())
        assert len(runs) == 3
        assert all(read(run / "record.json").outcome.status == "completed" for run in runs)

    def test_ctrl_c_leaves_the_record_and_a_status(self, tmp_path):
        process = subprocess.Popen(
            [sys.executable, ROOT / "train.py", "data=digits", "trainer.max_epochs=100000", "model=mlp"],
            cwd=tmp_path,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
            # A shell that runs the tests in the background has its children ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        try:
            while not list(tmp_path.glob("outputs/runs/*/checkpoints/last.ckpt")):
                assert process.poll() is None
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
        assert process.returncode == 130
        assert "interrupted by SIGINT → outputs/runs/" in errors
        assert record_of(tmp_path).outcome.status == "interrupted"
        assert record_of(tmp_path).progress.epochs


TORCH = "schedule=torch schedule.scheduler._target_=torch.optim.lr_scheduler"
RARELY = "ReduceLROnPlateau schedule.monitor=val/loss schedule.interval=epoch trainer.check_val_every_n_epoch=2"
MISTAKES = {
    "schedule=sawtooth": f"schedule=sawtooth: must be one of {', '.join(CATALOGUE)}",
    "optimizer=lion": "optimizer=lion: must be one of adagrad, adam, adamw, momentum, nesterov, own, rmsprop, "
    "schedule_free_adamw, schedule_free_sgd, sgd",
    "schedule.sharpness=1": "schedule.sharpness: no such key",
    "colour=red": "colour: no such key",
    "schedule=step schedule.gamma=0": "schedule.gamma=0: must be a number in (0, 1]",
    "schedule=step schedule.gamma=1.5": "schedule.gamma=1.5: must be a number in (0, 1]",
    "schedule=step schedule.gamma=nan": "schedule.gamma=nan: must be a number in (0, 1]",
    "schedule=step schedule.every=0": "schedule.every=0: must be longer than 0",
    "schedule.warmup=120%": "schedule.warmup=120%: must be at most 100%",
    "schedule.warmup=0.1": "schedule.warmup=0.1 is ambiguous: write 10% or a number of steps",
    "schedule.warmup=60% schedule.hold=60%": "schedule.warmup=60% and hold=60%: 216 + 216 steps must be at most",
    "schedule=multistep schedule.milestones=[75%,50%]": "schedule.milestones=[75%, 50%]: must be in rising order, not",
    "schedule=multistep schedule.milestones=[30ep]": "schedule.milestones=[30ep]: must be within the run, [0, 360)",
    "schedule=cosine_restarts schedule.cycles=50": "schedule.cycles=50 with length_factor=2: must be so few that each",
    "schedule=cyclic schedule.down=30ep": "schedule.down=30ep: must be at most the 324 steps of the decay",
    "schedule=piecewise schedule.points=[[50%,-1]]": "schedule.points=[['50%', -1]]: must be a list of [duration",
    "schedule=wsd schedule.cooldown=99%": "schedule.warmup=5% and cooldown=99%: 18 + 356 steps must be at most",
    "schedule=onecycle optimizer=sgd": "schedule.momentum=[0.85, 0.95]: must be null with SGD, which has no momentum",
    "schedule=onecycle optimizer=schedule_free_adamw": "schedule.momentum=[0.85, 0.95]: must be null with Adam",
    "schedule.momentum=[0.9,0.8]": "schedule.momentum=[0.9, 0.8]: must be two numbers [low, high]",
    "schedule.weight_decay=constant optimizer.weight_decay=1": "schedule.weight_decay=constant: not possible with Adam",
    "scale=plateau scale.metric=f1": "scale.metric=f1: must be one of val/acc, val/loss, train/acc, train/loss",
    "scale=plateau scale.factor=1.5": "scale.factor=1.5: must be a number in (0, 1)",
    "scale=greedy scale.window=0": "scale.window=0: must be an integer, at least 1",
    "scale=sinus": "scale=sinus: must be one of greedy, none, plateau",
    "schedule=plateau +trainer.limit_val_batches=0": "scale.metric=val/loss: must be a metric that is logged; without",
    "schedule=torch": "schedule.scheduler._target_=???: must be given",
    f"{TORCH}.ExponentialLR": "schedule.scheduler: ExponentialLR.__init__() missing 1 required positional argument",
    f"{TORCH}.ReduceLROnPlateau": "schedule.monitor=null with interval=step: must be a metric such as val/loss, with",
    f"{TORCH}.ExponentialLR +schedule.scheduler.gamma=0.9 schedule.monitor=val/loss": "schedule.monitor=val/loss: must",
    f"{TORCH}.{RARELY}": "schedule.monitor=val/loss: must be measured in every epoch",
    "+scale.foo=3": "scale: must be one of its choices, or of type Scale, not dict",
    "+trainer.limit_train_batches=2.5": "trainer.limit_train_batches=2.5: must be an integer of at least 0, a fraction",
    f"{TORCH}.StepLR scale=plateau": "scale: cannot be combined with schedule=torch",
    "schedule.final=-1": "schedule.final=-1: must be a number in [0, 1]",
    "optimizer.lr=-1": "optimizer.lr=-1: must be a number above 0",
    "optimizer.lr=fast": "optimizer.lr=fast: must be a number above 0",
    "+optimizer.foo=1": "optimizer: Adam.__init__() got an unexpected keyword argument 'foo'",
    "optimizer._target_=torch.optim.Nope": "Nope",
    "trainer.max_epochs=0": "trainer.max_epochs=0: must be an integer, at least 1, or -1",
    "trainer.max_epochs=-1": "trainer.max_epochs=-1: a schedule needs an end; give max_steps",
    "trainer.accumulate_grad_batches=0": "trainer.accumulate_grad_batches=0: must be an integer, at least 1",
    "model.classes=5": "model: gives (2, 5) for 2 images, but digits has 10 classes",
    "model.image_size=14": "model: does not take digits's images, 1 × 28 × 28: mat1 and mat2",
    "trainer.precision=7": "trainer: Precision 7 is invalid",
    "data.batch_size=0": "data.batch_size=0: must be an integer, at least 1",
    "data.batch_size=5000": "data.batch_size=5000: must be at most the 1150 training images",
    "data.val_size=1438": "data.val_size=1438: must be a number below 1438",
    "data=mnist": "data=mnist: no MNIST files in nowhere/MNIST/raw, and no download server can be reached; set "
    "LRDECAY_DATA to the folder that holds MNIST/raw, or use data=digits",
    "seed=x": "seed=x: must be an integer, at least 0",
    "seed=5000000000": "seed=5000000000: must be an integer, at least 0 and below 2³²",
    "optimizer=null": "a configuration group cannot be null: ",
    "trainer.gradient_clip_val=-1": "trainer.gradient_clip_val=-1: must be a number above 0, or null",
    "+trainer.limit_train_batches=0": "trainer.limit_train_batches=0: must leave at least 1 training batch",
    "+trainer.val_check_interval=5000": "trainer: ",
    "metric=train/acc": "metric=train/acc: must be one of val/acc, val/loss",
    "output_dir=/proc/nowhere": "output_dir: /proc/nowhere/runs/",
    "schedule.final=[": "schedule.final=[: not an override",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_answered_in_one_line_and_nothing_is_trained(train, tmp_path, mistake):
    done = train(*mistake.split(), LRDECAY_DATA="nowhere", **NO_NETWORK)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith(f"error: {MISTAKES[mistake]}") or MISTAKES[mistake] == "Nope" in done.stderr
    assert done.stdout == ""
    assert not list(tmp_path.rglob("*.ckpt"))
    assert not list(tmp_path.rglob("metrics.csv"))


def test_a_gpu_that_is_not_there(train):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = train("trainer=gpu")
    assert done.returncode == 1
    assert done.stderr == "error: trainer: No supported gpu backend found!\n"


def test_a_damaged_mnist_file_is_named(tmp_path, mnist_root):
    raw = tmp_path / "MNIST/raw"
    raw.mkdir(parents=True)
    for file in (mnist_root / "MNIST/raw").iterdir():
        (raw / file.name).symlink_to(file)
    (raw / "train-labels-idx1-ubyte").unlink()
    (raw / "train-labels-idx1-ubyte").write_bytes(b"short")
    done = run_apart("train.py", "data=mnist", cwd=tmp_path, LRDECAY_DATA=str(tmp_path))
    assert done.returncode == 1
    assert re.match(r"error: data=mnist: .*train-labels-idx1-ubyte is damaged \(5 bytes", done.stderr)
    assert len(done.stderr.splitlines()) == 1


def test_a_folder_that_is_a_file(train, tmp_path):
    (tmp_path / "outputs").write_text("")
    done = train()
    assert done.returncode == 1
    assert re.match(r"error: output_dir: outputs/runs/.* cannot be made: ", done.stderr)


def test_help_and_configuration_without_torch(tmp_path):
    code = "import sys, runpy; sys.argv[1:] = ['--cfg', 'job']; runpy.run_path(sys.argv[0] , run_name='__main__')"
    code = code.replace("sys.argv[0] ", repr(str(ROOT / "train.py")))
    code = f"import atexit, sys; atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr)); {code}"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert yaml.safe_load(done.stdout)["trainer"]["max_epochs"] == 20
    assert done.stderr.strip() == "False"
    helped = fresh("train.py", "--help", cwd=tmp_path)
    assert helped.returncode == 0
    assert f"schedule: {', '.join(CATALOGUE)}" in helped.stdout
    assert list(tmp_path.iterdir()) == []


def documented_commands() -> list[str]:
    """Every ``python train.py …`` in the README and in the headers of the configuration files."""
    readme, _, _ = (ROOT / "README.md").read_text().partition("## Extend")  # which documents what is not there yet
    texts = [readme, *(path.read_text() for path in sorted((ROOT / "conf").rglob("*.yaml")))]
    texts = [text.replace("\\\n", " ") for text in texts]
    quoted = r"""python train\.py((?:'[^'\n]*'|"[^"\n]*"|[^\n`#('"])*)"""
    found = [match for text in texts for match in re.findall(quoted, text)]
    return sorted({re.split(r" is the | --| \$", command)[0].strip() for command in found})


@pytest.mark.parametrize("command", documented_commands())
def test_every_documented_command_composes(command):
    from hydra import compose, initialize_config_dir
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from lrdecay.sweeps.folders import register_resolvers

    register_resolvers()
    parser = OverridesParser.create()
    words = [word for word in shlex.split(command) if not word.startswith("-")]
    overrides = []
    for override in parser.parse_overrides(words):
        if override.is_interval_sweep():
            overrides.append(f"{override.get_key_element()}={override.value().start}")
        elif override.is_sweep_override():
            first = next(iter(override.sweep_string_iterator()))
            overrides.append(f"{override.get_key_element()}={first}")
        else:
            overrides.append(override.input_line)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        assert "schedule" in compose("config", overrides)


@pytest.mark.gpu
def test_one_run_on_a_gpu(train, tmp_path):
    done = train("trainer=gpu", "schedule=cosine", "trainer.precision=bf16-mixed", SHORT)
    assert done.returncode == 0, done.stderr
    assert record_of(tmp_path).plan.device == "cuda:0"
    assert record_of(tmp_path).outcome.final["val/acc"] > 0.8
