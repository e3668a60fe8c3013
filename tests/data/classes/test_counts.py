"""Counts of the classes of masks."""

import numpy as np
import pytest

from segcli.data.classes.counts import class_counts


@pytest.mark.parametrize("length", [2, 4, 5, 12, 255, 256, 300])
@pytest.mark.parametrize("shape", [(31, 47), (5, 17, 23)])
@pytest.mark.parametrize("partly", [True, False])
def test_the_valid_pixels_of_each_class_are_counted(length, shape, partly):
    rng = np.random.default_rng(length)
    mask = rng.integers(0, min(length + 3, 256), shape).astype(np.uint8)  # numbers beyond the classes do not count
    valid = rng.random(shape) > 0.3 if partly else None
    counted = mask[valid] if partly else mask.ravel()
    expected = [int((counted == number).sum()) for number in range(length)]
    assert class_counts(mask, valid, length).tolist() == expected
