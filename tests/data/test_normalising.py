"""Normalised pixels have the bits of the plain expression."""

import numpy as np
import pytest

from segcli.data.normalising import normalised_planes

TOPS = {"uint8": 255, "uint16": 65535}


def pixels(dtype, shape):
    values = np.random.default_rng(1).integers(0, TOPS.get(np.dtype(dtype).name, 1000) + 1, shape)
    return values.astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("shape", [(40, 30, 3), (64, 48, 1), (9, 20, 31, 2), (5, 6, 7), (16, 16, 6)])
def test_the_bits_are_those_of_the_expression(dtype, shape):
    image = pixels(dtype, shape)
    channels = shape[-1]
    mean = np.linspace(0.31, 0.77, channels).astype(np.float32)
    std = np.linspace(0.13, 0.29, channels).astype(np.float32)
    unit = image.astype(np.float32) / np.float32(TOPS.get(image.dtype.name, 1))
    for scale, expected in ((None, unit), ((mean, std), (unit - mean) / std)):
        found = normalised_planes(image, scale)
        assert found.flags.c_contiguous
        assert found.dtype == np.float32
        assert np.moveaxis(found, 0, -1).tobytes() == expected.tobytes()


@pytest.mark.parametrize("window", [np.s_[3:35, 5:29], np.s_[::-1, ::-2], np.s_[:, ::3]])
def test_windows_of_an_image_need_no_copy_by_the_caller(window):
    image = pixels(np.uint8, (40, 30, 3))
    scale = np.full(3, 0.4, np.float32), np.full(3, 0.2, np.float32)
    whole = normalised_planes(image, scale)
    assert np.array_equal(normalised_planes(image[window], scale), whole[(slice(None), *window)])
