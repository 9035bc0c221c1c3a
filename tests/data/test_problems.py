"""Data sets beside MNIST and digits: signals, texts, and torchvision's in files of their formats."""

import gzip
import hashlib
import pickle
import random
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
import torchvision.datasets
from support.programs import NO_NETWORK

from lrdecay.data import MNIST1D, Digits, Shakespeare, Text, Torchvision
from lrdecay.data.batches import Batches
from lrdecay.data.catalogue import SHAKESPEARE_FILE, SIZES, TORCHVISION
from lrdecay.data.mnist1d import signals
from lrdecay.data.splits import windows
from lrdecay.data.text import encoded
from lrdecay.errors import BadValue, ConfigError

CPU = torch.device("cpu")


def labels_of(data) -> dict[str, list[int]]:
    return {split: labels.tolist() for split, (_, labels) in data._splits.items()}


class TestResampling:
    def test_each_seed_deals_the_same_images_out_anew(self):
        def drawn(seed):
            data = Digits(resample=True)
            data.prepare(seed, CPU)
            return data

        first, again, other = drawn(1), drawn(1), drawn(2)
        assert first.sizes == other.sizes == {"train": 1150, "val": 288, "test": 359}
        assert labels_of(first) == labels_of(again) != labels_of(other)

        def pooled(data):
            images = torch.cat([images for images, _ in data._splits.values()])
            return sorted(hashlib.md5(image.numpy().tobytes()).hexdigest() for image in images)

        assert pooled(first) == pooled(other)

    def test_is_for_small_sets_where_it_is_left_open(self, mnist_root):
        for resample, differ in ((False, False), (None, True), (True, True)):
            splits = []
            for seed in (1, 2):
                data = Digits(resample=resample)
                data.prepare(seed, CPU)
                splits.append(labels_of(data)["test"])
            assert (splits[0] != splits[1]) == differ

    @pytest.mark.parametrize("neither", ["perhaps", 1, 0.0])
    def test_refuses_what_is_neither(self, neither):
        with pytest.raises(BadValue, match=rf"^resample={neither}: must be true, false or null"):
            Digits(resample=neither)


class TestSignals:
    def test_are_those_of_the_package_that_were_published(self, tmp_path):
        from mnist1d.data import get_dataset_args, make_dataset

        published = make_dataset(get_dataset_args())
        (train, classes), (test, test_classes) = MNIST1D(tmp_path, samples=5000, resample=False).load()
        np.testing.assert_allclose(train[:, 0], published["x"], rtol=1e-6)
        np.testing.assert_allclose(test[:, 0], published["x_test"], rtol=1e-6)
        assert classes.tolist() == published["y"].tolist()
        assert test_classes.tolist() == published["y_test"].tolist()

    def test_differ_between_seeds_and_leave_the_global_generators_alone(self, tmp_path):
        np.random.seed(3)  # noqa: NPY002
        random.seed(3)
        before = np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
        one, other = MNIST1D(tmp_path, samples=1100), MNIST1D(tmp_path, samples=1100)
        one.resample = other.resample = True
        one.prepare(1, CPU)
        other.prepare(2, CPU)
        assert labels_of(one) != labels_of(other)
        assert (np.random.get_state()[1].tolist(), random.getstate()) == before  # noqa: NPY002

    def test_are_kept_on_disk_and_made_again_where_the_file_is_damaged(self, tmp_path):
        first = MNIST1D(tmp_path, samples=1100).load()
        (file,) = (tmp_path / "mnist1d").iterdir()
        for content in (file.read_bytes()[:100], b"", b"\x93NUMPY"):
            file.write_bytes(content)
            signals.cache_clear()
            again = MNIST1D(tmp_path, samples=1100).load()
            assert all(torch.equal(a, b) for a, b in zip(first[0], again[0], strict=True))

    def test_are_not_kept_where_nothing_can_be_written(self, tmp_path, caplog):
        (tmp_path / "file").write_text("")
        assert len(MNIST1D(tmp_path / "file", samples=1100).load()[1][1]) == 1000
        assert "could not be kept" in caplog.text

    @pytest.mark.parametrize("samples", [0, 1000, 1105, "many", 2000.0])
    def test_refuse_other_counts(self, samples):
        with pytest.raises(BadValue, match=r"^samples="):
            MNIST1D(samples=samples)


TEXT = "To be, or not to be, that is the question – whether 'tis nobler in the mind to suffer. " * 40


@pytest.fixture
def book(tmp_path) -> Path:
    file = tmp_path / "book.txt"
    file.write_text(TEXT, encoding="utf-8")
    return file


class TestText:
    def test_targets_are_the_characters_that_follow(self, book):
        data = Text(book, length=16, batch_size=4)
        data.prepare(0, CPU)
        alphabet = "".join(sorted(set(TEXT)))
        for split in ("train", "val", "test"):
            for inputs, targets in Batches(data._splits[split], 4, stride=16):
                for given, wanted in zip(inputs, targets, strict=True):
                    read = "".join(alphabet[code] for code in given)
                    assert read + alphabet[wanted[-1]] in TEXT
                    assert given[1:].tolist() == wanted[:-1].tolist()

    def test_an_epoch_reads_the_text_once_cut_elsewhere_each_time(self, book):
        data = Text(book, length=16, batch_size=4)
        data.prepare(0, CPU)
        codes = torch.arange(len(data._splits["train"][0]) + 16)  # numbers in place of characters
        split = codes.unfold(0, 16, 1)[:-1], codes.unfold(0, 16, 1)[1:]
        origins = []
        for epoch in range(6):
            seen = torch.cat([x for x, _ in Batches(split, 4, seed=1, stride=16, epoch=lambda epoch=epoch: epoch)])
            assert len(seen) == windows(len(codes), 16) == data.sizes["train"]
            places = sorted(seen.flatten().tolist())
            assert places == list(range(places[0], places[0] + len(places)))
            origins.append(places[0])
        assert max(origins) < 16
        assert len(set(origins)) > 1

    def test_splits_its_end_off_and_turns_with_a_seed(self, book):
        def start(seed, resample):
            data = Text(book, length=16, batch_size=4, resample=resample)
            data.prepare(seed, CPU)
            return data._splits["test"][0][0].tolist()

        assert start(1, False) == start(2, False)
        assert start(1, True) != start(2, True)

    def test_is_named_by_what_it_says(self, book):
        name = Text(book).name
        book.write_text(TEXT.upper(), encoding="utf-8")
        from lrdecay.data.text import _read

        _read.cache_clear()
        assert name.startswith("book ")
        assert Text(book).name != name

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "at least 2 different characters, not 0"),
            (b"aaaa" * 1000, "at least 2 different characters, not 1"),
            (b"abc\xff" * 1000, r"is not UTF-8 \(byte 3\)"),
            (b"ab" * 50, r"at most half of each split, of which one has \d+ characters"),
        ],
    )
    def test_refuses_what_is_no_text_or_too_short(self, tmp_path, content, message):
        file = tmp_path / "text.txt"
        file.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            Text(file, length=16).prepare(0, CPU)

    def test_names_a_file_that_is_missing(self, tmp_path):
        with pytest.raises(ConfigError, match=r"data.path=.*nowhere.txt: No such file"):
            Text(tmp_path / "nowhere.txt").prepare(0, CPU)

    def test_codes_are_in_the_order_of_the_characters(self):
        assert encoded("ba–b".encode(), "x").tolist() == [1, 0, 2, 1]


class TestShakespeare:
    def test_the_real_text(self, shakespeare_root):
        data = Shakespeare(shakespeare_root, batch_size=32, val_size="5%")
        data.prepare(0, CPU)
        assert data.model_sizes == {"classes": 65, "length": 64}
        assert data.sizes == {"train": 15_727, "val": 826, "test": 870}

    def test_a_damaged_one_is_named(self, tmp_path):
        file = tmp_path / "tinyshakespeare/input.txt"
        file.parent.mkdir()
        file.write_text(TEXT)
        with pytest.raises(ConfigError, match=r"data=shakespeare: .*input.txt is damaged .* delete it"):
            Shakespeare(tmp_path).load()

    def test_nothing_on_disk_and_no_network(self, tmp_path, monkeypatch):
        for key, value in NO_NETWORK.items():
            monkeypatch.setenv(key, value)
        with pytest.raises(ConfigError, match=r"no download server can be reached; set LRDECAY_DATA"):
            Shakespeare(tmp_path).load()
        with pytest.raises(ConfigError, match=r"data.download is off"):
            Shakespeare(tmp_path, download=False).load()
        assert list(tmp_path.iterdir()) == []

    def test_a_download_that_breaks_off_leaves_nothing_and_another_one_works(
        self, tmp_path, monkeypatch, shakespeare_root
    ):
        text = (shakespeare_root / SHAKESPEARE_FILE).read_bytes()
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with serving(text, cut=500_000) as url:
            monkeypatch.setattr("lrdecay.data.text.SHAKESPEARE_URL", url)
            with pytest.raises(ConfigError, match=r"the download failed .*500000 bytes"):
                Shakespeare(tmp_path).load()
        assert list(tmp_path.iterdir()) == []
        with serving(text) as url:
            monkeypatch.setattr("lrdecay.data.text.SHAKESPEARE_URL", url)
            data = Shakespeare(tmp_path)
            data.load()
        assert data.path.read_bytes() == text


@contextmanager
def serving(content: bytes | Mapping[str, bytes], cut: int | None = None) -> Iterator[str]:
    """The URL of a file, or of the folder of several, of which only the beginning comes where it is cut."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            file = content if isinstance(content, bytes) else content[Path(self.path).name]
            self.send_response(200)
            self.send_header("Content-Length", str(len(file)))
            self.end_headers()
            with suppress(OSError):  # of those who only ask whether there is an answer
                self.wfile.write(file[:cut])

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            address = f"http://127.0.0.1:{server.server_port}/"
            yield address + "input.txt" if isinstance(content, bytes) else address
        finally:
            server.shutdown()


def idx(array: np.ndarray) -> bytes:
    return struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_as_torchvision(name: str, root: Path, monkeypatch) -> dict[bool, tuple[np.ndarray, np.ndarray]]:
    """Small files in the format of one of its sets: images, n × channels × height × width, and labels, by split."""
    random = np.random.default_rng(0)
    kind, known = getattr(torchvision.datasets, name), TORCHVISION[name]
    channels, side, classes = (known.sizes[key] for key in ("channels", "image_size", "classes"))
    made = {}
    for training, count in ((True, 200), (False, 60)):
        labels = random.permutation(np.arange(count) % classes).astype(np.uint8)
        made[training] = random.integers(0, 256, (count, channels, side, side), dtype=np.uint8), labels
    if name in ("FashionMNIST", "KMNIST", "EMNIST"):
        raw = root / name / "raw"
        raw.mkdir(parents=True)
        for training, (images, labels) in made.items():
            of = ("train" if training else "test") if name == "EMNIST" else ("train" if training else "t10k")
            stem = f"emnist-balanced-{of}" if name == "EMNIST" else of
            (raw / f"{stem}-images-idx3-ubyte").write_bytes(idx(images[:, 0]))
            (raw / f"{stem}-labels-idx1-ubyte").write_bytes(idx(labels))
    elif name == "SVHN":
        for training, (images, labels) in made.items():
            file = root / f"{'train' if training else 'test'}_32x32.mat"
            told = np.where(labels == 0, 10, labels)[:, None]  # as published: a 0 is class 10
            scipy.io.savemat(file, {"X": images.transpose(2, 3, 1, 0), "y": told})
            split = kind.split_list["train" if training else "test"]
            md5 = hashlib.md5(file.read_bytes()).hexdigest()
            monkeypatch.setitem(kind.split_list, "train" if training else "test", [split[0], split[1], md5])
    else:
        folder = root / kind.base_folder
        folder.mkdir()
        fine = "fine_labels" if name == "CIFAR100" else "labels"
        lists = {True: kind.train_list, False: kind.test_list}
        for training, (images, labels) in made.items():
            found = []
            parts = len(lists[training])
            for (file, _), rows, own in zip(
                lists[training], np.split(images, parts), np.split(labels, parts), strict=True
            ):
                content = pickle.dumps({"data": rows.reshape(len(rows), -1), fine: own.tolist()})
                (folder / file).write_bytes(content)
                found.append([file, hashlib.md5(content).hexdigest()])
            monkeypatch.setattr(kind, "train_list" if training else "test_list", found)
        names = pickle.dumps({kind.meta["key"]: [str(number) for number in range(classes)]})
        (folder / kind.meta["filename"]).write_bytes(names)
        monkeypatch.setattr(kind, "meta", kind.meta | {"md5": hashlib.md5(names).hexdigest()})
    return made


class TestTorchvision:
    @pytest.mark.parametrize("name", sorted(TORCHVISION))
    def test_reads_the_format_of_each(self, name, tmp_path, monkeypatch):
        made = write_as_torchvision(name, tmp_path, monkeypatch)
        data = Torchvision(name, tmp_path, download=False)
        for (images, labels), training in zip(data.load(), (True, False), strict=True):
            wanted, classes = made[training]
            np.testing.assert_array_equal(images, wanted)
            assert labels.tolist() == classes.tolist()
        data.prepare(0, CPU)
        assert data.model_sizes == TORCHVISION[name].sizes

    def test_a_download_is_put_in_place_whole(self, tmp_path, monkeypatch):
        made = write_as_torchvision("KMNIST", tmp_path / "made", monkeypatch)
        files = (tmp_path / "made/KMNIST/raw").iterdir()
        served = {f"{file.name}.gz": gzip.compress(file.read_bytes()) for file in files}
        sums = [(name, hashlib.md5(content).hexdigest()) for name, content in served.items()]
        monkeypatch.setattr(torchvision.datasets.KMNIST, "resources", sums)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        root = tmp_path / "data"
        with serving(served, cut=100) as url:
            monkeypatch.setattr(torchvision.datasets.KMNIST, "mirrors", [url])
            with pytest.raises(ConfigError, match=r"^data=kmnist: .*: the download failed \("):
                Torchvision("KMNIST", root).load()
        assert list(root.iterdir()) == []
        with serving(served) as url:
            monkeypatch.setattr(torchvision.datasets.KMNIST, "mirrors", [url])
            at_once = [threading.Thread(target=Torchvision("KMNIST", root).load) for _ in range(3)]
            for thread in at_once:
                thread.start()
            for thread in at_once:
                thread.join()
        (images, _), _ = Torchvision("KMNIST", root, download=False).load()
        np.testing.assert_array_equal(images, made[True][0])
        assert {path.name for path in root.rglob("*") if path.is_file()} == {name[:-3] for name in served}

    def test_says_what_is_missing(self, tmp_path, monkeypatch):
        for key, value in NO_NETWORK.items():
            monkeypatch.setenv(key, value)
        with pytest.raises(ConfigError, match=r"data=cifar10: .*no download server.*torchvision.datasets.CIFAR10"):
            Torchvision("CIFAR10", tmp_path).load()
        with pytest.raises(ConfigError, match=r"data.download is off"):
            Torchvision("FashionMNIST", tmp_path, download=False).load()

    @pytest.mark.parametrize(
        ("name", "file", "damage"),
        [
            ("KMNIST", "KMNIST/raw/train-images-idx3-ubyte", lambda content: content[:500]),
            ("KMNIST", "KMNIST/raw/train-labels-idx1-ubyte", lambda content: b""),
            ("KMNIST", "KMNIST/raw/t10k-images-idx3-ubyte", lambda content: b"not images"),
            ("KMNIST", "KMNIST/raw/t10k-labels-idx1-ubyte", lambda content: idx(np.zeros(59, dtype=np.uint8))),
            ("CIFAR10", "cifar-10-batches-py/data_batch_1", lambda content: content[:500]),
            ("SVHN", "train_32x32.mat", lambda content: b""),
        ],
    )
    def test_names_damaged_files(self, name, file, damage, tmp_path, monkeypatch):
        write_as_torchvision(name, tmp_path, monkeypatch)
        (tmp_path / file).write_bytes(damage((tmp_path / file).read_bytes()))
        # Of some sets torchvision checks the sums, and downloads damaged files again; others it takes as they are.
        checked = name != "KMNIST"
        why = ", and data.download is off; set" if checked else r": the files there are damaged \(.*\); delete them to"
        with pytest.raises(ConfigError, match=rf"^data={TORCHVISION[name].name}: .*{why}"):
            Torchvision(name, tmp_path, download=checked is False).load()

    def test_refuses_a_set_of_one_class(self, tmp_path, monkeypatch):
        monkeypatch.setitem(TORCHVISION, "KMNIST", replace(TORCHVISION["KMNIST"], sizes=SIZES | {"classes": 1}))
        write_as_torchvision("KMNIST", tmp_path, monkeypatch)
        data = Torchvision("KMNIST", tmp_path, download=False)
        with pytest.raises(ConfigError, match=r"^data: must have at least 2 classes, and all images of kmnist are of"):
            data.prepare(0, CPU)

    def test_refuses_other_sets(self):
        with pytest.raises(BadValue, match=r"^set=ImageNet: must be one of CIFAR10, "):
            Torchvision("ImageNet")
