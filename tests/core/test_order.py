"""Parts of arrays in the order of their axes."""

import numpy as np
import pytest

from segcli.core.checksums import crc32
from segcli.core.order import rows_of

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
