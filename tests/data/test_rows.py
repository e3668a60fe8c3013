"""Rows in the usual order are the same values, whatever the order of axes was."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from segcli.core.checksums import crc32
from segcli.data.batches import collated
from segcli.data.normalising import normalised_planes
from segcli.data.pipeline import Ready
from segcli.data.rows import in_rows, rows_of
from segcli.data.samples import TOPS, Case, Geometry

SIZES = [(7, 5), (7, 5, 4), (6, 5, 4, 3), (6, 5, 4, 1), (1, 5, 1), (4, 1)]
VALUES = np.random.default_rng(0).integers(0, 1000, (37, 5, 8, 1), dtype=np.int16)
LAYOUTS = {
    "rows": VALUES,
    "columns": np.asfortranarray(VALUES),
    "as NIfTI gives it": np.ascontiguousarray(VALUES[..., 0].T).T[..., None],
    "a mask": np.asfortranarray(VALUES[..., 0]),
    "fewer planes than a part": np.asfortranarray(VALUES[:3]),
    "another order": np.ascontiguousarray(VALUES.transpose(1, 0, 2, 3)).transpose(1, 0, 2, 3),
    "every other plane": np.asfortranarray(VALUES)[::2],
    "two channels": np.asfortranarray(np.repeat(VALUES, 2, axis=3)),
    "a picture": np.asfortranarray(VALUES[:, :, :2, 0]),
}


def views(size, dtype):
    """Yield an array in every order of its axes and with every axis mirrored, cropped, and one value everywhere."""
    values = np.random.default_rng(1).integers(0, 200, size).astype(dtype)
    for order in itertools.permutations(range(len(size))):
        for steps in itertools.product((1, -1), repeat=len(size)):
            turned = values.transpose(order)[tuple(slice(None, None, step) for step in steps)]
            yield turned
            yield turned[:-1]
    yield np.broadcast_to(values.flat[0], size)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, bool])
@pytest.mark.parametrize("size", SIZES)
def test_rows_hold_the_same_values_in_the_same_places(size, dtype):
    for view in views(size, dtype):
        assert np.array_equal(in_rows(view), view)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("size", [(7, 5, 3), (7, 1, 1), (6, 5, 4, 1), (5, 4, 3, 2)])
def test_each_pixel_is_normalised_with_the_same_rounding_in_any_order_of_axes(size, dtype):
    scale = (np.float32([0.31, 0.47, 0.53])[: size[-1]], np.float32([0.21, 0.19, 0.23])[: size[-1]])
    values = np.random.default_rng(1).integers(0, 256, size).astype(dtype)
    for order in itertools.permutations(range(len(size) - 1)):
        image = values.transpose(*order, len(size) - 1)[::-1]
        unit = image.astype(np.float32)
        unit = unit / np.float32(TOPS[unit_name]) if (unit_name := np.dtype(dtype).name) in TOPS else unit
        expected = np.moveaxis((unit - scale[0]) / scale[1], -1, 0)
        found = normalised_planes(image, scale)
        assert found.flags.c_contiguous
        assert np.array_equal(found, expected)


def test_a_batch_keeps_single_numbers_and_maps_of_one_value():
    def ready(number):
        arrays = {
            "image": np.full((1, 4, 4), number, np.float32),
            "class": np.array(number, np.uint8),
            "valid": np.broadcast_to(np.uint8(number), (4, 4)),
        }
        return Ready(arrays, Geometry((4, 4), (4, 4), (4, 4)), {})

    numbers = [3, 5, 8, 250] * 16
    tensors = collated([(Case("a", Path("a.png")), ready(number)) for number in numbers]).tensors
    assert tensors["class"].tolist() == numbers
    assert torch.equal(tensors["valid"], torch.tensor(numbers, dtype=torch.uint8)[:, None, None].expand(64, 4, 4))


@pytest.mark.parametrize("name", LAYOUTS)
def test_parts_hold_the_values_in_the_order_of_the_axes(name):
    values, checksum = LAYOUTS[name], 0
    parts = list(rows_of(values))
    assert b"".join(part.tobytes() for part in parts) == values.tobytes()
    for part in parts:
        checksum = crc32(part.data.cast("B"), checksum)
    assert checksum == crc32(values.tobytes())


def test_columns_are_not_copied_as_a_whole():
    assert [len(part) for part in rows_of(LAYOUTS["columns"])] == [16, 16, 5]
