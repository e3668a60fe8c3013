"""Which array of a Zarr group is read, and what is said of groups that have none."""

import numpy as np
import pytest
import zarr

from segcli.core.errors import DataError
from segcli.data.images import read_voxels

VOXELS = np.arange(12 * 16 * 20, dtype=np.uint16).reshape(12, 16, 20) + 1
AXES = [{"name": name, "type": "space"} for name in "zyx"]


def group(path, multiscales=None, **arrays):
    made = zarr.open_group(path, mode="w")
    for name, values in arrays.items():
        made.create_array(name.removeprefix("level"), shape=values.shape, dtype=values.dtype)[...] = values
    if multiscales is not None:
        made.attrs["ome"] = {"version": "0.5", "multiscales": multiscales}
    return path


@pytest.mark.parametrize("order", [("0", "1"), ("1", "0")])
def test_the_finest_level_is_read_whatever_the_order_of_the_levels(tmp_path, order):
    levels = [{"axes": AXES, "datasets": [{"path": name} for name in order]}]
    path = group(tmp_path / "a.zarr", levels, level0=VOXELS, level1=VOXELS[::2, ::2, ::2])
    np.testing.assert_array_equal(read_voxels(path)[..., 0], VOXELS)


@pytest.mark.parametrize(
    ("multiscales", "arrays", "text"),
    [
        (None, {"data": VOXELS}, r"a.zarr` is a group without the array `0`; it holds `data`"),
        (None, {}, r"a.zarr` is a group without the array `0`; it holds nothing"),
        ([{"axes": AXES, "datasets": [{"path": "9"}]}], {"level0": VOXELS}, "without the array `9`; it holds `0`"),
        ([{"axes": AXES, "datasets": [{"path": "../b"}]}], {"level0": VOXELS}, "without the array `../b`"),
        ("nothing", {"level0": VOXELS}, "a.zarr` has `multiscales` that name no arrays"),
        ([{"axes": AXES}], {"level0": VOXELS}, "a.zarr` has `multiscales` that name no arrays"),
    ],
)
def test_a_group_without_an_array_to_read_is_one_sentence(tmp_path, multiscales, arrays, text):
    with pytest.raises(DataError, match=text) as told:
        read_voxels(group(tmp_path / "a.zarr", multiscales, **arrays))
    assert told.value.hint == "give the folder of the array itself, or write an OME-Zarr group"
    if "data" in arrays:
        np.testing.assert_array_equal(read_voxels(tmp_path / "a.zarr/data")[..., 0], VOXELS)


def test_numbers_have_the_byte_order_of_the_machine(tmp_path):
    made = zarr.create_array(tmp_path / "a.zarr", shape=VOXELS.shape, dtype=">u2", zarr_format=2)
    made[...] = VOXELS
    found = read_voxels(tmp_path / "a.zarr")
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found[..., 0], VOXELS)
