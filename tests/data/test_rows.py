"""Rows in the usual order are the same values, whatever the order of axes was."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from segcli.data.batches import collated
from segcli.data.normalising import normalised_planes
from segcli.data.pipeline import Ready
from segcli.data.rows import in_rows
from segcli.data.samples import TOPS, Case, Geometry

SIZES = [(7, 5), (7, 5, 4), (6, 5, 4, 3), (6, 5, 4, 1), (1, 5, 1), (4, 1)]


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
