import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from support.programs import NO_NETWORK

from lrdecay.data import Digits
from lrdecay.data.batches import Batches
from lrdecay.data.catalogue import MNIST_FILES
from lrdecay.data.choice import auto
from lrdecay.data.mnist import MNIST, read_mnist
from lrdecay.errors import ConfigError

CPU = torch.device("cpu")


def a_split(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.arange(rows, dtype=torch.uint8).reshape(rows, 1, 1, 1), torch.arange(rows)


class TestBatches:
    def test_every_row_once_an_epoch_and_the_last_batch_short(self):
        batches = list(Batches(a_split(10), 4, seed=0))
        assert [len(labels) for _, labels in batches] == [4, 4, 2]
        assert sorted(torch.cat([labels for _, labels in batches]).tolist()) == list(range(10))

    def test_images_are_scaled_and_stay_with_their_labels(self):
        for images, labels in Batches(a_split(10), 4, seed=3):
            assert images.dtype == torch.float32
            torch.testing.assert_close(images.flatten(), labels / 255)

    def test_the_order_is_a_function_of_seed_and_epoch(self):
        def order(seed, epoch):
            return torch.cat([y for _, y in Batches(a_split(50), 8, seed=seed, epoch=lambda: epoch)]).tolist()

        torch.manual_seed(5)
        first = order(1, 0)
        torch.manual_seed(6)
        assert order(1, 0) == first
        assert order(1, 1) != first
        assert order(2, 0) != first

    def test_without_a_seed_the_order_stays(self):
        assert [y.tolist() for _, y in Batches(a_split(5), 3)] == [[0, 1, 2], [3, 4]]

    @pytest.mark.parametrize("seed", [None, 1])
    def test_processes_share_the_batches_of_one(self, seed):
        alone = [labels.tolist() for _, labels in Batches(a_split(11), 4, seed=seed)]
        shares = [
            [labels.tolist() for _, labels in Batches(a_split(11), 4, seed=seed, rank=rank, world_size=2)]
            for rank in (0, 1)
        ]
        for whole, left, right in zip(alone, *shares, strict=True):
            assert set(left) | set(right) == set(whole)
            if seed is None:  # evaluation: each row once
                assert len(left) + len(right) == len(whole)
            else:  # training: as many in each
                assert len(left) == len(right)


class TestDigits:
    def test_splits(self):
        data = Digits(val_size=300)
        data.prepare(seed=0, device=CPU)
        assert data.sizes == {"train": 1138, "val": 300, "test": 359}

    def test_the_last_images_validate_and_train_size_keeps_the_first(self):
        data = Digits(val_size="10%", train_size=100)
        (images, labels), _ = data.load()
        data.prepare(seed=0, device=CPU)
        assert data.sizes["train"] == 100
        assert torch.equal(data._splits["val"][1], labels[-144:])
        assert torch.equal(data._splits["train"][0], images[:100])

    def test_are_digits_of_28_by_28(self):
        (images, labels), _ = Digits().load()
        assert images.shape == (1438, 1, 28, 28)
        assert images.dtype == torch.uint8
        assert images.max() == 255
        assert images[:, :, :2].max() == 0
        assert set(labels.tolist()) == set(range(10))

    @pytest.mark.parametrize(
        ("sizes", "key"),
        [
            ({"batch_size": 0}, "batch_size"), ({"batch_size": 1151}, "batch_size"),
            ({"batch_size": 1.5}, "batch_size"),
            ({"val_size": 1438}, "val_size"), ({"val_size": 0}, "val_size"), ({"val_size": "100%"}, "val_size"),
            ({"val_size": "x%"}, "val_size"), ({"val_size": 0.2}, "val_size"), ({"train_size": 5000}, "train_size"),
            ({"eval_batch_size": 0}, "eval_batch_size"), ({"train_size": 10}, "batch_size"),
        ],
    )  # fmt: skip
    def test_refuses_sizes_that_do_not_fit(self, sizes, key):
        with pytest.raises(ValueError, match=f"^{key}="):
            Digits(**sizes).prepare(seed=0, device=CPU)


class TestMNIST:
    def test_the_real_files(self, mnist_root):
        data = MNIST(mnist_root)
        data.prepare(seed=0, device=CPU)
        assert data.sizes == {"train": 48_000, "val": 12_000, "test": 10_000}
        (images, labels), _ = data.load()
        assert images.shape == (60_000, 1, 28, 28)
        assert labels[:5].tolist() == [5, 0, 4, 1, 9]

    def test_is_read_once_a_process(self, mnist_root):
        first, again = MNIST(mnist_root).load(), MNIST(mnist_root).load()
        assert first[0][0] is again[0][0]

    @pytest.mark.parametrize("damage", ["truncated", "altered"])
    def test_a_damaged_file_is_named(self, mnist_root, tmp_path, damage):
        raw = tmp_path / "MNIST/raw"
        raw.mkdir(parents=True)
        for name in MNIST_FILES:
            shutil.copy(mnist_root / "MNIST/raw" / name, raw / name)
            (raw / name).chmod(0o644)
        labels = bytearray((raw / "t10k-labels-idx1-ubyte").read_bytes())
        labels = labels[:5000] if damage == "truncated" else labels[:-1] + bytes([labels[-1] ^ 1])
        (raw / "t10k-labels-idx1-ubyte").write_bytes(labels)
        with pytest.raises(ConfigError, match=r"t10k-labels-idx1-ubyte is damaged .* delete it"):
            read_mnist(tmp_path)

    def test_nothing_on_disk_and_no_network(self, tmp_path, monkeypatch):
        for key, value in NO_NETWORK.items():
            monkeypatch.setenv(key, value)
        with pytest.raises(ConfigError, match=r"LRDECAY_DATA.*data=digits"):
            MNIST(tmp_path).load()
        assert list(tmp_path.iterdir()) == []

    def test_auto_falls_back_to_digits_with_a_warning(self, tmp_path, monkeypatch, caplog):
        for key, value in NO_NETWORK.items():
            monkeypatch.setenv(key, value)
        assert isinstance(auto(tmp_path, batch_size=32), Digits)
        assert "using digits, not MNIST" in caplog.text

    def test_auto_takes_mnist_where_it_is(self, mnist_root: Path):
        data = auto(mnist_root, val_size=10_000)
        assert isinstance(data, MNIST)
        data.prepare(seed=0, device=CPU)
        assert data.sizes["train"] == 50_000
        assert np.unique(data._splits["val"][1]).size == 10
