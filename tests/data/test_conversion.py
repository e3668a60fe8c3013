"""Conversion of colours to grey."""

from pathlib import Path

import numpy as np
import pytest

from segcli.data.conversion import Conversion

WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)


@pytest.mark.parametrize("top", [2**8, 2**16])
def test_equal_channels_are_their_own_grey_as_their_weighted_sum_is(top):
    kind = np.uint8 if top == 2**8 else np.uint16
    values = np.arange(top, dtype=kind).reshape(16, -1)
    image = np.repeat(values[:, :, None], 3, axis=2)
    assert np.array_equal(np.rint(image.astype(np.float32) @ WEIGHTS), values)
    assert np.array_equal(Conversion("grey", 1)(image, Path("a.png"))[:, :, 0], values)


def test_channels_that_differ_below_the_first_row_are_weighed():
    image = np.full((5, 4, 3), 100, np.uint8)
    image[3, 2] = [10, 200, 30]
    found = Conversion("grey", 1)(image, Path("a.png"))
    assert np.array_equal(found[:, :, 0], np.rint(image.astype(np.float32) @ WEIGHTS))
    assert found[3, 2, 0] == 124  # 2.99 + 117.4 + 3.42
