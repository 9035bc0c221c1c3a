"""Problems beside MNIST and digits, as commands train them."""

import csv

import pytest
from support.programs import run_apart
from support.runs import the_run

from lrdecay.records.items import read_items
from lrdecay.records.record import read

SIGNALS = ["data=mnist1d", "data.samples=1500", "data.val_size=100", "data.batch_size=50", "trainer.max_epochs=2"]


def train(tmp_path, *arguments: str, **environment: str):
    return run_apart("train.py", *arguments, cwd=tmp_path, **environment)


@pytest.fixture
def book(tmp_path):
    file = tmp_path / "book.txt"
    file.write_text("It was the best of times, it was the worst of times, it was the age of wisdom. " * 60)
    return file


class TestSignals:
    @pytest.mark.parametrize("model", ["conv1d", "mlp"])
    def test_are_trained_on(self, model, tmp_path):
        done = train(tmp_path, *SIGNALS, f"model={model}", LRDECAY_DATA=str(tmp_path))
        assert done.returncode == 0, done.stderr
        assert "mnist1d, 400 / 100 / 1,000 signals to train / validate / test, batch 50, 2 epochs" in done.stdout
        assert read_items(the_run(tmp_path)) is None  # another seed has other ones
        assert len(list((tmp_path / "mnist1d").iterdir())) == 1

    def test_each_item_of_a_test_set_that_seeds_share_is_kept(self, tmp_path):
        done = train(tmp_path, *SIGNALS, "model=conv1d", "data.resample=false", LRDECAY_DATA=str(tmp_path))
        assert done.returncode == 0, done.stderr
        run = the_run(tmp_path)
        items, final = read_items(run), read(run / "record.json").outcome.final
        assert items.right.mean() == pytest.approx(final["test/acc"])
        assert items.loss.mean() == pytest.approx(final["test/loss"], rel=1e-3)

    def test_do_not_fit_a_model_for_images(self, tmp_path):
        done = train(tmp_path, *SIGNALS, "model=cnn", LRDECAY_DATA=str(tmp_path))
        assert done.returncode == 1
        assert done.stderr.startswith("error: model.image_size=[1, 40]: must be an integer, at least 4")
        assert done.stderr.count("\n") == 1


COLOURED = """
import torch
from lrdecay.data.tensors import TensorData

class Coloured(TensorData):
    name = "coloured"

    def load(self):
        images = torch.randint(0, 256, (60, 3, 32, 32), dtype=torch.uint8)
        labels = torch.arange(60) % 5
        return (images[:40], labels[:40]), (images[40:], labels[40:])
"""


@pytest.mark.parametrize("network", ["resnet18", "mobilenet_v3_small"])
def test_a_network_of_torchvisions_takes_its_classes_from_the_data(network, tmp_path):
    (tmp_path / "own.py").write_text(COLOURED)
    words = "data=digits", "data._target_=own.Coloured", "data.batch_size=8", "trainer.max_epochs=1", "model=resnet"
    done = train(tmp_path, *words, f"model._target_=torchvision.models.{network}", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert read(the_run(tmp_path) / "record.json").plan.config["model"] == {
        "_target_": f"torchvision.models.{network}",
        "num_classes": None,
    }


class TestTexts:
    ARGUMENTS = (
        "data=text",
        "data.length=16",
        "data.batch_size=16",
        "trainer.max_epochs=2",
        "model=transformer",
        "model.width=16",
    )

    def test_are_trained_on(self, book, tmp_path):
        done = train(tmp_path, *self.ARGUMENTS, f"data.path={book}")
        assert done.returncode == 0, done.stderr
        assert "windows to train / validate / test" in done.stdout
        assert " bits per character" in done.stdout
        record = read(the_run(tmp_path) / "record.json")
        assert record.outcome.final["val/loss"] < record.progress.epochs[0]["train/loss"]
        assert 0 < read_items(record.directory).right.mean() < 1

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["model=cnn"], "error: model"),
            (["data.shift=1"], "error: data.shift=1: must be 0 with a text"),
            (["data.length=0"], "error: data.length=0: must be an integer, at least 1"),
            (["data.length=5000"], "error: data.length=5000: must be at most half of each split"),
            (["model.length=8"], "error: model"),
            (["data.path=nowhere.txt"], "error: data.path="),
            (["data.resample=maybe"], "error: data.resample=maybe: must be true, false or null"),
        ],
    )
    def test_bad_input_is_one_line_and_nothing_is_trained(self, book, tmp_path, arguments, message):
        keys = {argument.partition("=")[0] for argument in arguments}
        own = [a for a in (*self.ARGUMENTS, f"data.path={book}") if a.partition("=")[0] not in keys]
        own = [a for a in own if not (arguments == ["model=cnn"] and a.startswith("model."))]
        done = train(tmp_path, *own, *arguments)
        assert done.returncode == 1
        assert done.stderr.startswith(message)
        assert done.stderr.count("\n") == 1


class TestParameterGroups:
    GROUPS = "optimizer.groups=[{match: head, lr: 0.1}, {match: bias, weight_decay: 0}]"

    def test_have_rates_of_their_own(self, train, tmp_path):
        done = train(
            self.GROUPS, "optimizer=adamw", "schedule=cosine", "trainer.max_epochs=2", "trainer.log_every_n_steps=5"
        )
        assert done.returncode == 0, done.stderr
        assert "adamw lr 0.001, head ×0.1" in done.stdout
        rows = list(csv.DictReader((the_run(tmp_path) / "metrics.csv").read_text().splitlines()))
        rates = [(float(row["lr"]), float(row["lr/head"])) for row in rows if row["lr"]]
        assert len(rates) > 5
        assert all(own == pytest.approx(0.1 * rate) for rate, own in rates)

    @pytest.mark.parametrize(
        ("groups", "message"),
        [
            (
                "[{match: nothing, lr: 1}]",
                "error: optimizer.groups[0].match=nothing: must be found in a parameter's name",
            ),
            ("[{match: '(', lr: 1}]", "error: optimizer.groups[0].match=(: must be a regular expression"),
            (
                "[{match: bias, weight_decay: -1}]",
                "error: optimizer.groups[0]={weight_decay: -1}: must be settings that the optimizer takes (Invalid",
            ),
            ("some", "error: optimizer.groups=some: must be a list of {match: …, lr: …, weight_decay: …}, or null"),
            (
                "[bias]",
                "error: optimizer.groups=['bias']: must be a list of {match: …, lr: …, weight_decay: …}, or null",
            ),
        ],
    )
    def test_bad_rules_are_one_line(self, groups, message, train):
        done = train(f"optimizer.groups={groups}", "optimizer=adamw")
        assert done.returncode == 1
        assert done.stderr.startswith(message)
        assert done.stderr.count("\n") == 1


def test_the_split_of_a_protocol_is_not_drawn_anew(tmp_path):
    article = "experiment=article", "data.resample=true"
    done = train(tmp_path, *article)
    assert done.returncode == 1
    assert done.stderr == (
        "error: data.resample=true: must be null or false with fixed_split=mnist, part of the experiment\n"
    )
    for value in ("1", "yes_please"):
        done = train(tmp_path, "experiment=article", f"data.resample={value}")
        assert done.stderr == f"error: data.resample={value}: must be true, false or null\n"
    other = train(tmp_path, *article, "data=digits", "model=mlp", "trainer.max_epochs=1")
    assert other.returncode == 0, other.stderr


def test_a_sweep_that_draws_its_own_data_says_so(train):
    sweep = "-m", "schedule=constant,step", "seed=1,2,3", "trainer.max_epochs=2", "model=mlp"
    done = train(*sweep)
    assert done.returncode == 0, done.stderr
    assert "for new seeds and new data" in done.stdout
    done = train(
        "-m", "schedule=constant,step", "seed=1,2,3", "trainer.max_epochs=2", "model=mlp", "data.resample=false"
    )
    assert "for new seeds, of test metrics for new data too" in done.stdout
