"""Masks of structures are put into one array whatever the order of their axes in memory."""

import numpy as np
import pytest

from segcli.data.structures import channels_last


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("order", ["C", "F"])
def test_masks_become_channels(count, order):
    masks = [np.asarray(mask, order=order) for mask in np.random.default_rng(0).random((count, 5, 6, 7)) > 0.5]
    found = channels_last(masks)
    assert found.dtype == np.uint8
    assert np.array_equal(found, np.stack(masks, axis=-1))
