import numpy as np
import pytest

from lrdecay.records.items import FILE, Items, read_items, write_items
from lrdecay.records.record import RecordError


def test_what_is_written_is_read(tmp_path):
    rng = np.random.default_rng(0)
    right, loss = rng.integers(0, 2, 10_001).astype(np.float32), rng.exponential(1, 10_001).astype(np.float32)
    write_items(tmp_path, Items(right, loss))
    items = read_items(tmp_path)
    assert items.right.tolist() == right.tolist()
    np.testing.assert_allclose(items.loss, loss, rtol=1e-3)
    assert (tmp_path / FILE).stat().st_size < 22_000
    assert items.of("test/acc") is items.right
    assert items.of("val/acc") is None


def test_fractions_are_kept_and_losses_beyond_half_precision_are_its_largest(tmp_path):
    write_items(tmp_path, Items(np.array([0.25, 1.0]), np.array([1e30, np.nan])))
    items = read_items(tmp_path)
    assert items.right.tolist() == [0.25, 1.0]
    assert items.loss[0] == 65_504
    assert np.isnan(items.loss[1])


def test_runs_of_before_have_none(tmp_path):
    assert read_items(tmp_path) is None


@pytest.mark.parametrize("damage", ["empty", "cut", "other", "pickle"])
def test_names_a_file_that_cannot_be_read(tmp_path, damage):
    write_items(tmp_path, Items(np.ones(50), np.ones(50)))
    file = tmp_path / FILE
    if damage == "other":
        np.savez(file, right=np.ones(3, dtype=np.float16), loss=np.ones(5, dtype=np.float16))
    elif damage == "pickle":
        np.savez(file, right=np.array([{}], dtype=object), loss=np.ones(5, dtype=np.float16))
    else:
        file.write_bytes(file.read_bytes()[: 0 if damage == "empty" else 200])
    with pytest.raises(RecordError, match=r"test_items.npz: not the outcomes of a test set"):
        read_items(tmp_path)
