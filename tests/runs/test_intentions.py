"""Nothing is restored, derived or named that belonged to another intention than the user's."""

import csv
import itertools
import re
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from support import programs
from support.programs import NO_NETWORK, ROOT, run_apart
from support.records import of_configuration
from support.runs import SMALL, StoppedAt, assert_same, the_run

from lrdecay.data import Digits
from lrdecay.data.catalogue import MNIST_FILES, data_set
from lrdecay.errors import BadValue, ConfigError
from lrdecay.records.identity import determining
from lrdecay.records.record import read
from lrdecay.runs.trust import own_strings, require_trusted, without_downloads
from lrdecay.training.models import CNN, MLP

CONF = ROOT / "conf"
OWN = """
import torch, pytorch_lightning as pl
from dataclasses import dataclass
from torch.utils.data import DataLoader, TensorDataset
from lrdecay.data import Digits
from lrdecay.data import TensorData
from lrdecay.schedules import Schedule

class Fashion(Digits):
    name = "fashion"

class Colour(TensorData):
    name = "colour"
    def load(self):
        def part(n):
            labels = torch.arange(n) % 7
            images = torch.zeros(n, 3, 32, 20, dtype=torch.uint8)
            images[torch.arange(n), labels % 3, labels * 4] = 255
            return images, labels
        return part(300), part(70)

@dataclass(frozen=True, kw_only=True)
class Cubic(Schedule):
    def shape(self, u, decay_steps, horizon):
        return (1 - u / decay_steps) ** 3

class Loader(pl.LightningDataModule):
    def __init__(self, workers=0, **ignored): super().__init__(); self.workers = workers
    def part(self, n, **how):
        images = torch.rand(n, 1, 28, 28, generator=torch.Generator().manual_seed(n))
        return DataLoader(TensorDataset(images, torch.arange(n) % 10), 16, **how)
    def train_dataloader(self): return self.part(160, shuffle=True, num_workers=self.workers)
    def val_dataloader(self): return self.part(64)
    test_dataloader = val_dataloader

class Counting:
    '''Its order depends on how often it was gone through, which only its own state tells.'''
    def __init__(self, images): self.images, self.times = images, 0
    def __len__(self): return 10
    def state_dict(self): return {"times": self.times}
    def load_state_dict(self, state): self.times = state["times"]
    def __iter__(self):
        self.times += 1
        order = torch.randperm(160, generator=torch.Generator().manual_seed(self.times))
        return iter([(self.images[rows], rows % 10) for rows in order.split(16)])

class Noisy(torch.utils.data.Dataset):
    '''Draws from torch's generator whenever an image is taken.'''
    def __len__(self): return 160
    def __getitem__(self, row): return torch.rand(1, 28, 28), row % 10

class Augmented(Loader):
    def train_dataloader(self): return DataLoader(Noisy(), 16, shuffle=True)

class Stateful(Loader):
    def train_dataloader(self):
        return Counting(torch.rand(160, 1, 28, 28, generator=torch.Generator().manual_seed(1)))
"""


@pytest.fixture
def own(tmp_path) -> Path:
    (tmp_path / "own.py").write_text(OWN)
    return tmp_path


def train(folder: Path, *arguments: str, prepare=None) -> programs.Program:
    return programs.run("train.py", *arguments, cwd=folder, prepare=Importable(prepare))


class Importable:
    """The working directory is where Python looks, and then something else."""

    def __init__(self, then=None) -> None:
        self.then = then

    def __call__(self) -> None:
        import sys

        sys.path.insert(0, str(Path.cwd()))
        if self.then is not None:
            self.then()


INTERVALS = [
    "+trainer.val_check_interval=0.25",
    "+trainer.val_check_interval=5",
    "trainer.check_val_every_n_epoch=2",
    "",
]
CHANGES = ["", "trainer.accumulate_grad_batches=3", "optimizer=schedule_free_adamw"]


@pytest.mark.parametrize("metric", ["val/acc", "val/loss"])
@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize("change", CHANGES)
def test_the_best_row_and_the_best_checkpoint_are_one_measurement(metric, interval, change, tmp_path):
    arguments = ["trainer.max_epochs=5", "optimizer.lr=0.02", f"metric={metric}", *filter(None, (interval, change))]
    assert train(tmp_path, *SMALL, *arguments).process.exitcode == 0
    run = the_run(tmp_path)
    best = read(run / "record.json").outcome.best
    with (run / "metrics.csv").open() as file:
        measured = {int(row["step"]): float(row[metric]) for row in csv.DictReader(file) if row[metric]}
    assert best[metric] == (max if metric == "val/acc" else min)(measured.values())
    assert measured[best["step"]] == best[metric]
    saved = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    assert saved["global_step"] == best["step"] + 1
    model = MLP(hidden=[16])
    model.load_state_dict({key.removeprefix("model."): value for key, value in saved["state_dict"].items()})
    data = Digits(resample=True)
    data.prepare(seed=1, device=torch.device("cpu"))
    images, labels = data._splits["val"]
    with torch.no_grad():
        logits = model(images / 255)
    assert float((logits.argmax(dim=1) == labels).float().mean()) == pytest.approx(best["val/acc"])
    assert float(torch.nn.functional.cross_entropy(logits, labels)) == pytest.approx(best["val/loss"], rel=1e-4)


def test_a_best_that_was_found_when_the_run_had_ended_is_not_lost_by_an_extension(tmp_path):
    rare = ["data.train_size=256", "optimizer.lr=0.02", "metric=val/loss", "trainer.check_val_every_n_epoch=6"]
    assert train(tmp_path, *SMALL, *rare, "trainer.max_epochs=8").process.exitcode == 0
    run = the_run(tmp_path)
    before = read(run / "record.json").outcome.best
    assert before["step"] == 31, "measured after the last epoch"
    done = train(tmp_path, f"resume={run}", "resume_mode=extend", "trainer.max_epochs=9")
    assert done.process.exitcode == 0, done.text
    best = read(run / "record.json").outcome.best
    assert best["val/loss"] <= before["val/loss"]
    saved = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    assert saved["global_step"] == best["step"] + 1


@pytest.mark.parametrize("monitor", ["val/loss", "val/acc"])
@pytest.mark.parametrize("metric", ["val/loss", "val/acc"])
def test_early_stopping_follows_its_own_metric(monitor, metric, tmp_path):
    early = ["callbacks=early_stopping", f"callbacks.early_stopping.monitor={monitor}", f"metric={metric}"]
    assert train(tmp_path, *SMALL, *early, "trainer.max_epochs=1").process.exitcode == 0
    mode = read(the_run(tmp_path) / "record.json").plan.config["callbacks"]["early_stopping"]["mode"]
    assert mode == ("min" if monitor == "val/loss" else "max")


@pytest.mark.parametrize(
    ("override", "group", "name"),
    [
        (["optimizer._target_=torch.optim.NAdam", "~optimizer.fused"], "optimizer", "NAdam"),
        (["schedule._target_=own.Cubic"], "schedule", "Cubic"),
        (["schedule=cosine_warmup"], "schedule", "cosine_warmup"),
        (["schedule=plateau"], "schedule", "plateau"),
        (["model._target_=torch.nn.Flatten", "~model.hidden", "~model.dropout"], "model", "Flatten"),
    ],
)
def test_names_are_those_of_what_is_built(override, group, name, own):
    done = train(own, *SMALL, *override, "trainer.max_epochs=1")
    if name == "Flatten":  # it gives no logits of ten classes, but its name is known
        assert "model: " in done.text
    else:
        assert done.process.exitcode == 0, done.text
        assert re.search(rf"(^| · ){name}\b", done.text.splitlines()[0])
        assert f"{group}: {name}\n" in (the_run(own) / "hparams.yaml").read_text()
    run = the_run(own)
    assert read(run / "record.json").plan.choices[group] == name
    assert group != "schedule" or run.name.endswith(f"_{name}")


def test_a_data_set_of_ones_own_is_recognised(own):
    (own / "conf/data").mkdir(parents=True)
    (own / "conf/data/fashion.yaml").write_text("defaults: [base/sizes@_here_]\n_target_: own.Fashion\n")
    command = ["--config-dir", "conf", "-m", *SMALL[1:], "data=fashion", "seed=1,2", "name=g", "trainer.max_epochs=1"]
    assert train(own, *command).process.exitcode == 0
    again = train(own, *command)
    assert again.text.count("already complete") == 2
    assert len(list(own.glob("outputs/sweeps/g/*/record.json"))) == 2


# 10 batches an epoch: in the first epoch, in a later one, and at its end.
STOPS = [(3, signal.SIGTERM), (14, signal.SIGTERM), (23, signal.SIGKILL)]
KINDS = ["Loader +data.workers=0", "Augmented", "Stateful"]


@pytest.mark.parametrize(
    ("kind", "stop"), [*itertools.product(KINDS, STOPS), ("Loader +data.workers=2", STOPS[1])]
)  # workers take half a minute to start and to end
def test_a_loader_of_somebody_elses_resumes_exactly(kind, stop, own):
    loader = [*f"data._target_=own.{kind}".split(), "model.dropout=0.3"]
    whole, stopped = own / "whole", own / "stopped"
    for folder in (whole, stopped):
        folder.mkdir()
        (folder / "own.py").write_text(OWN)
    assert train(whole, *SMALL, *loader).process.exitcode == 0
    step, number = stop
    train(stopped, *SMALL, *loader, prepare=StoppedAt(step, number=number))
    done = train(stopped, f"resume={the_run(stopped)}", "trust=true")
    assert done.process.exitcode == 0, done.text
    assert "WARNING" not in done.text
    assert_same(the_run(stopped), the_run(whole))


@pytest.mark.parametrize("missing", range(4))
def test_there_is_one_answer_to_which_data(missing, mnist_root, tmp_path):
    raw = tmp_path / "MNIST/raw"
    raw.mkdir(parents=True)
    for number, name in enumerate(MNIST_FILES):
        if number != missing:
            (raw / name).symlink_to(mnist_root / "MNIST/raw" / name)
    assert data_set({"_target_": "lrdecay.data.auto", "root": str(tmp_path)}).name == "digits"
    environment = {"LRDECAY_DATA": str(tmp_path), **NO_NETWORK}
    drawn = run_apart("scripts/preview.py", cwd=tmp_path, **environment)
    trained = run_apart("train.py", "model=mlp", "trainer.max_epochs=1", cwd=tmp_path, **environment)
    assert "18 an epoch of digits" in drawn.stdout
    assert trained.stdout.splitlines()[1].startswith("digits, 1,150")


def test_preview_names_the_data_of_each(tmp_path, mnist_root):
    done = run_apart("scripts/preview.py", "data=mnist,digits", cwd=tmp_path, LRDECAY_DATA=str(mnist_root))
    assert "360 steps, 18 an epoch of digits\n15,000 steps, 750 an epoch of mnist" in done.stdout


@pytest.mark.parametrize(
    "override", ["optimizer.lr=0.1", "trainer.max_steps=5", "trainer.devices=2", "+trainer.max_epochs=1"]
)
def test_find_lr_replaces_nothing_in_silence(override, tmp_path):
    done = programs.run("scripts/find_lr.py", "data=digits", override, cwd=tmp_path)
    assert done.process.exitcode == 1
    assert done.text.startswith(f"error: {override}: cannot be combined with find-lr, which ")


def test_evaluates_runs_of_processes_that_differ(tmp_path):
    for tune in ("true", "false"):
        run = f"hydra.run.dir=tuned-{tune}"
        assert programs.run("train.py", *SMALL, f"process.tune={tune}", run, cwd=tmp_path).process.exitcode == 0
    done = run_apart("scripts/evaluate.py", "tuned-true", "tuned-false", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": test/acc ") == 2


GROUPS = ("schedule", "scale", "optimizer", "model", "data", "trainer", "logger", "callbacks")


@pytest.mark.parametrize(("group", "other"), list(itertools.permutations(GROUPS, 2)))
def test_a_class_is_trusted_in_its_own_group_only(group, other, tmp_path):
    """Of a stranger's record: everything of this project that is known in one group, put into another."""
    known = own_strings(CONF)
    foreign = [text for text in known[other] if re.fullmatch(r"\w+(\.\w+)+", text) and text not in known[group]]
    assert foreign or other in ("scale",) or group == other
    for target in foreign:
        record = of_configuration(tmp_path, **{group: {"_target_": target}})
        with pytest.raises(ConfigError, match="is not this project's own"):
            require_trusted(record, CONF)
        require_trusted(of_configuration(tmp_path, **{other: {"_target_": target}}), CONF)


@pytest.mark.parametrize("key", ["save_dir", "dirpath", "default_root_dir", "tracking_uri", "filename", "log_path"])
@pytest.mark.parametrize("group", ["logger", "callbacks", "trainer"])
def test_no_place_of_a_strangers_is_written_to(group, key, tmp_path):
    for value in ("/elsewhere", "elsewhere", "../elsewhere", "${oc.env:HOME}"):
        for node in ({key: value}, {"x": {key: value}}, {"x": [{key: value}]}):
            with pytest.raises(ConfigError, match="is not this project's own"):
                require_trusted(of_configuration(tmp_path, **{group: node}), CONF)


UNNAMED = {
    "positional": {"csv": {"_target_": "lrdecay.training.loggers.CSVLogger", "_args_": ["/elsewhere"], "name": ""}},
    "a number by position": {"csv": {"_args_": [3]}},
    "a proxy": {"wandb": {"settings": {"https_proxy": "http://elsewhere"}}},
    "no encryption": {"wandb": {"settings": {"insecure_disable_ssl": True}}},
    "artifacts": {"mlflow": {"artifact_location": "elsewhere"}},
    "a suffix": {"tensorboard": {"filename_suffix": "x"}},
    "an account": {"wandb": {"entity": "somebody"}},
}


@pytest.mark.parametrize("what", UNNAMED)
def test_nothing_goes_to_a_logger_but_what_this_project_gives_it(what, tmp_path):
    with pytest.raises(ConfigError, match="is not this project's own"):
        require_trusted(of_configuration(tmp_path, **{"logger": UNNAMED[what]}), CONF)


@pytest.mark.parametrize("group", GROUPS)
def test_no_argument_without_a_name_is_trusted(group, tmp_path):
    for node in ({"_args_": ["x"]}, {"profiler": {"_args_": ["x"]}}, {"x": [{"_args_": [1]}]}):
        with pytest.raises(ConfigError, match="is not this project's own"):
            require_trusted(of_configuration(tmp_path, **{group: node}), CONF)


def test_this_projects_own_loggers_are_trusted(tmp_path):
    for file in (CONF / "logger").glob("*.yaml"):
        composed = {"logger": OmegaConf.to_container(OmegaConf.load(file)) or {}}
        composed["logger"].pop("defaults", None)
        require_trusted(of_configuration(tmp_path, **composed), CONF)


def test_a_length_of_time_is_no_place(tmp_path):
    composed = {"trainer": {"max_time": "00:00:00:03"}, "callbacks": {"early_stopping": {"monitor": "val/loss"}}}
    require_trusted(of_configuration(tmp_path, **composed), CONF)


def test_nothing_is_downloaded_to_a_place_of_a_strangers():
    data = {
        "root": "/elsewhere",
        "more": [{"root": "x", "download": True}],
        "own": {"root": "${oc.env:LRDECAY_DATA,data}"},
    }
    assert without_downloads({"root": ["x"]}, CONF)["download"] is False
    safe = without_downloads(data, CONF)
    assert safe["download"] is safe["more"][0]["download"] is False
    assert "download" not in safe["own"]


def test_a_change_after_millions_of_steps_is_seen(tmp_path):
    long = ["schedule=multistep", "trainer.max_epochs=-1", "trainer.max_steps=4000000", "trainer.max_time={seconds: 1}"]
    done = train(tmp_path, *SMALL, *long)
    assert done.process.exitcode == 0
    assert "never changes" not in done.text


@pytest.mark.parametrize("model", ["cnn", "mlp"])
def test_models_take_their_sizes_from_the_data(model, own):
    arguments = ["data._target_=own.Colour", f"model={model}", "trainer.max_epochs=1"]
    done = train(own, "data=digits", *arguments)
    assert done.process.exitcode == 0, done.text
    weights = torch.load(the_run(own) / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    first, last = next(iter(weights.values())), list(weights.values())[-1]
    assert first.shape[1] == (3 if model == "cnn" else 3 * 32 * 20)
    assert len(last) == 7


@pytest.mark.parametrize("kind", [CNN, MLP])
@pytest.mark.parametrize("size", [(3, 32, 32), (1, 28, 20), (4, 9, 13)])
def test_models_of_any_size(kind, size):
    channels, height, width = size
    model = kind(image_size=[height, width], channels=channels, classes=5)
    assert model(torch.zeros(2, channels, height, width)).shape == (2, 5)
    with pytest.raises(BadValue, match=r"^image_size=\[1, 2, 3\]: must be"):
        kind(image_size=[1, 2, 3])


def test_a_configuration_of_version_0_1_is_the_same_run():
    """It had the sizes that models now take from the data, and fewer keys of the trainer."""
    old = {
        "model": {"_target_": "lrdecay.training.models.CNN", "classes": 10, "image_size": 28},
        "data": {"_target_": "lrdecay.data.Digits"},
    }
    old["trainer"] = {"accelerator": "auto", "devices": 1, "max_epochs": 20, "gradient_clip_val": None}
    new = OmegaConf.to_container(OmegaConf.load(CONF / "trainer/auto.yaml"))
    now = old | {
        "model": {"_target_": "lrdecay.training.models.CNN", "classes": None, "image_size": None, "channels": None}
    }
    now["trainer"] = {
        key: value for key, value in new.items() if key not in ("precision", "_target_", "num_sanity_val_steps")
    }
    assert determining(now, "digits") == determining(old, "digits")
    for key, value in (("limit_train_batches", 0.5), ("max_time", "00:00:01:00"), ("inference_mode", False)):
        assert determining(now | {"trainer": now["trainer"] | {key: value}}, "digits") != determining(old, "digits")
    assert determining(now | {"model": now["model"] | {"classes": 12}}, "digits") != determining(old, "digits")


def test_what_a_job_does_to_the_process_does_not_reach_the_next(tmp_path):
    (tmp_path / "own.py").write_text(
        "import torch, pytorch_lightning as pl\n"
        "class Says(pl.Callback):\n"
        "    def on_fit_start(self, *_): print('deterministic', torch.are_deterministic_algorithms_enabled())\n"
    )
    done = train(
        tmp_path,
        "-m",
        *SMALL,
        "trainer.max_epochs=1",
        "trainer.deterministic=true,null",
        "+callbacks.x._target_=own.Says",
    )
    assert re.findall(r"deterministic (\w+)$", done.text, re.MULTILINE) == ["True", "False"]


@pytest.mark.parametrize("number", [np.int64, np.int32, np.uint8, np.float32, np.float64])
def test_numbers_of_numpy_are_numbers(number):
    from lrdecay.schedules.horizon import Horizon
    from lrdecay.schedules.scales import Plateau
    from lrdecay.schedules.smooth import Cosine
    from lrdecay.schedules.tables import MultiStep, Piecewise

    horizon = Horizon(np.int64(100), np.int32(10))
    assert horizon == Horizon(100, 10)
    assert type(horizon.total_steps) is int
    assert Cosine(warmup=number(5)) == Cosine(warmup=5)
    assert Cosine(final=number(1)).factor(number(50) if number(0).dtype.kind != "f" else 50, horizon) == 1
    assert MultiStep(milestones=np.array([20, 50]).astype(number)) == MultiStep(milestones=(20, 50))
    assert hash(Piecewise(points=[[number(10), number(1)]])) == hash(Piecewise(points=[[10, 1]]))
    assert Plateau(patience=np.int64(3), factor=np.float32(0.5)).patience == 3
    assert Digits(batch_size=np.int64(8)).batch_size == 8
    assert "np." not in repr(Cosine(final=number(1), warmup=number(5)))
