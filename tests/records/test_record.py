import json
import os
from pathlib import Path

import pytest
from support.records import edit

from lrdecay.files import write_atomically
from lrdecay.records.identity import differences, result_hash
from lrdecay.records.record import Plan, Record, RecordError, find, plan, read, write

CONFIG = {"schedule": {"gamma": 0.1}, "seed": 0, "data": {"root": "a", "_target_": "x"}, "logger": {"csv": {"name": 1}}}


def a_record(directory: Path) -> Record:
    return Record(directory, plan(CONFIG, {"schedule": "step"}, ["seed=0"], ["train.py"], started=1.0))


def test_reads_what_it_wrote(tmp_path):
    record = a_record(tmp_path)
    record.plan.data, record.outcome.final = "digits", {"val/acc": 0.5, "val/loss": 0.25}
    write(record)
    again = read(tmp_path / "record.json")
    assert again == record
    assert again.plan.versions["torch"].startswith("2.")


def test_reads_keys_that_are_numbers(tmp_path):
    write(Record(tmp_path, Plan(config={"points": {2: 0.1, 10: 0.2, "end": 0.3}})))
    assert read(tmp_path / "record.json").plan.config == {"points": {"2": 0.1, "10": 0.2, "end": 0.3}}


def test_reads_a_record_of_the_first_schema(tmp_path):
    record = a_record(tmp_path)
    record.progress.epochs = [{"epoch": 0}, {"epoch": 1}]
    write(record)
    file = tmp_path / "record.json"
    values = json.loads(file.read_text())
    for later in ["epoch_seconds", "process", "command", "commit", "dirty", "code", "resumed", "divergence", "digest"]:
        del values[later]
    file.write_text(json.dumps(values | {"schema": 1, "seconds_per_epoch": 1.5}))
    assert read(file).progress.epoch_seconds == [1.5, 1.5]
    assert read(file).plan.config["process"]["tune"] is False
    file.write_text(json.dumps(values | {"schema": 1, "seconds_per_epoch": None}))
    assert read(file).progress.epoch_seconds == []


def test_is_plain_json_even_with_nan(tmp_path):
    record = a_record(tmp_path)
    record.progress.epochs = [{"epoch": 0, "train/loss": float("nan"), "lr": float("inf")}]
    write(record)
    text = (tmp_path / "record.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["epochs"] == [{"epoch": 0, "train/loss": None, "lr": None}]


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[: len(whole) // 2],
        lambda whole: b"[]",
        lambda whole: b"{}",
        lambda whole: b"\xff\xfe",
        lambda whole: whole.replace(b'"schema": 5', b'"schema": 99'),
        lambda whole: whole.replace(b'"running"', b'"dancing"'),
        lambda whole: whole.replace(b'"gamma": 0.1', b'"gamma": 0.2'),
        lambda whole: whole.replace(b'"digest"', b'"digits"'),
        lambda whole: b"[" * 100_000,
        lambda whole: b'{"schema": 2, "config": {}}',
        lambda whole: b'{"schema": 1, "epochs": null, "config": 3, "seconds_per_epoch": 1}',
    ],
)
def test_what_is_no_whole_record_is_named(tmp_path, damage):
    write(a_record(tmp_path))
    file = tmp_path / "record.json"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(RecordError, match=r"record.json: not a"):
        read(file)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    file = tmp_path / "record.json"
    file.write_text("old")

    def disk_full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(file, b"new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_the_hash_tells_apart_what_changes_the_result_only():
    def changed(**groups):
        return result_hash({**CONFIG, **groups}, "mnist")

    same = result_hash(CONFIG, "mnist")
    assert changed(logger={}) == same
    assert changed(data={"root": "b", "_target_": "y"}) == same
    assert changed(seed=1) != same
    assert changed(schedule={"gamma": 0.5}) != same
    assert result_hash(CONFIG, "digits") != same


def test_a_rate_may_be_written_in_two_ways():
    assert differences({"optimizer.lr": 1}, {"optimizer.lr": 1.0}) == []
    assert differences({"optimizer.lr": 1}, {"optimizer.lr": 1.5}) == ["optimizer.lr=1.5, which was 1"]
    # To Lightning the one is a single batch, the other all of them.
    assert differences({"trainer.limit_train_batches": 1}, {"trainer.limit_train_batches": 1.0})


def test_what_computes_dense_layers_changes_the_result():
    plain = {"schedule": {"_target_": "step"}, "seed": 1}
    with_it = [plain | {"process": {"dense": by}} for by in ("torch", "onednn")]
    hashes = [result_hash(config, "digits") for config in (plain, *with_it)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_finds_each_record_once(tmp_path):
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        write(a_record(tmp_path / name))
    assert find([tmp_path, tmp_path / "a"]) == [tmp_path / "a/record.json", tmp_path / "b/record.json"]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("status", "dancing", "status: invalid enum value 'dancing'"),
        ("epochs", [{"epoch": "x"}], "epochs[0][...]: expected a number or null, got a text"),
        ("seconds", True, "seconds: expected a number, got bool"),
        ("rates", [[1]], "rates[0]: expected a list of length 2, got 1"),
        ("sizes", {"train": 1.5}, "sizes[...]: expected an integer, got a number"),
        ("config", 3, "config: expected a mapping, got an integer"),
    ],
)
def test_a_value_of_another_kind_is_named(tmp_path, field, value, message):
    write(a_record(tmp_path))
    edit(tmp_path / "record.json", **{field: value})
    with pytest.raises(RecordError) as refused:
        read(tmp_path / "record.json")
    assert str(refused.value).startswith(f"{tmp_path}/record.json: not a complete record: {message}")


@pytest.mark.parametrize("place", [("schedule",), ("schedule", "first"), ("scheduled", "model", "dropout")])
def test_where_the_points_of_a_table_came_from_makes_no_other_run(place):
    def hash_of(csv: str, points: list) -> str:
        node: dict = {"csv": csv, "points": points}
        for name in reversed(place):
            node = {name: node}
        return result_hash(CONFIG | node, "mnist")

    line = [[0, 1], [1, 0]]
    assert hash_of("here.csv", line) == hash_of("there.csv", line)
    assert hash_of("here.csv", line) != hash_of("here.csv", [[0, 1], [1, 0.5]])
