"""Weights & Biases and MLflow, offline: the runs of a sweep belong together, and a resumed run stays one run."""

import pytest
from support import programs
from support.programs import NO_NETWORK
from support.runs import SMALL, StoppedAt, begin, go_on, the_run

from lrdecay.metrics import METRICS
from lrdecay.records.record import read


def sweep(folder, *words):
    return programs.run("train.py", "-m", *SMALL, *words, "name=of_both", cwd=folder, **NO_NETWORK)


class TestWandb:
    offline = ("logger=wandb", "logger.wandb.offline=true")

    @pytest.fixture(autouse=True)
    def wandb(self):
        pytest.importorskip("wandb", reason="the wandb extra is not installed")

    def test_a_run_that_is_resumed_keeps_its_id(self, tmp_path):
        assert begin(tmp_path, *self.offline, prepare=StoppedAt(25), **NO_NETWORK).wait() == 143
        done = go_on(tmp_path, **NO_NETWORK)
        assert done.process.exitcode == 0, done.text
        folders = sorted(the_run(tmp_path).glob("wandb/offline-run-*"))
        assert len(folders) == 2, "each attempt is synced on its own"
        assert len({folder.name.rpartition("-")[2] for folder in folders}) == 1, "to the same run"
        assert "resume will be ignored" not in done.text

    def test_a_sweep_is_a_group(self, tmp_path):
        done = sweep(tmp_path, *self.offline, "seed=1,2")
        assert done.process.exitcode == 0, done.text
        logs = sorted(tmp_path.glob("outputs/sweeps/of_both/*/wandb/offline-run-*/*.wandb"))
        for log, name in zip(logs, (b"01_seed-1", b"02_seed-2"), strict=True):
            content = log.read_bytes()
            assert b"of_both" in content
            assert name in content


class TestMLflow:
    @pytest.fixture(autouse=True)
    def mlflow(self):
        return pytest.importorskip("mlflow", reason="the mlflow extra is not installed")

    def runs(self, mlflow, folder):
        client = mlflow.MlflowClient(f"sqlite:///{folder}/outputs/mlflow.db")
        experiment = client.get_experiment_by_name("lrdecay").experiment_id
        return client, client.search_runs([experiment], order_by=["start_time"])

    def test_a_run_that_is_resumed_stays_one_run(self, mlflow, tmp_path):
        assert begin(tmp_path, "logger=mlflow", prepare=StoppedAt(25), **NO_NETWORK).wait() == 143
        done = go_on(tmp_path, **NO_NETWORK)
        assert done.process.exitcode == 0, done.text
        client, (run,) = self.runs(mlflow, tmp_path)
        assert run.info.status == "FINISHED"
        steps = [point.step for point in client.get_metric_history(run.info.run_id, "val/acc")]
        assert steps == [17, 35, 53]
        final = read(the_run(tmp_path) / "record.json").outcome.final
        assert {name: run.data.metrics[name] for name in METRICS if name.startswith("val")} == pytest.approx(
            {name: final[name] for name in METRICS if name.startswith("val")}
        )

    def test_a_sweep_is_a_tag(self, mlflow, tmp_path):
        done = sweep(tmp_path, "logger=mlflow", "seed=1,2")
        assert done.process.exitcode == 0, done.text
        _, runs = self.runs(mlflow, tmp_path)
        assert [(run.info.run_name, run.data.tags["sweep"]) for run in runs] == [
            ("01_seed-1", "of_both"), ("02_seed-2", "of_both"),
        ]  # fmt: skip
