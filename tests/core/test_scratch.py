import numpy as np
import pytest

from segcli.core.errors import DataError
from segcli.core.scratch import Scratch


def test_what_is_added_to_a_scratch_array_is_read_back_and_no_file_is_seen(tmp_path):
    values = np.random.default_rng(0).random((3, 7, 5)).astype(np.float32)
    scratch = Scratch(values.shape, np.float32, tmp_path / "new")
    assert not scratch.read((...,)).any()
    scratch.write((slice(None), slice(2, 5)), values[:, 2:5])
    scratch.add((slice(None), slice(4, 7)), values[:, 4:7])
    expected = np.zeros_like(values)
    expected[:, 2:5] = values[:, 2:5]
    expected[:, 4:7] += values[:, 4:7]
    np.testing.assert_array_equal(scratch.read((...,)), expected)
    assert list((tmp_path / "new").iterdir()) == []
    scratch.close()


def test_a_disk_without_room_is_told_at_once(tmp_path):
    with pytest.raises(DataError, match="cannot write"):
        Scratch((2**50,), np.uint8, tmp_path)
