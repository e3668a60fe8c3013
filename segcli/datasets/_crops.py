"""Crops of one size, cut from volumes."""

from itertools import product

import numpy as np

from segcli.core.types import Array
from segcli.files import Window

__all__ = ["padded", "windows"]


def windows(size: tuple[int, ...], margin: tuple[int, ...], crop: tuple[int, ...]) -> list[Window]:
    """Cut a volume into crops: as many as fit side by side inside the margin, centred, but at least one.

    Example:
        >>> windows((10,), (1,), (3,))
        [(slice(2, 5, None),), (slice(5, 8, None),)]
    """
    axes = []
    for length, margins, wanted in zip(size, margin, crop, strict=True):
        room = max(length - 2 * margins, 1)
        first = min(margins, max(length - 1, 0) // 2)
        if room <= wanted:
            axes.append([slice(first, first + room)])
            continue
        count = room // wanted
        start = first + (room - count * wanted) // 2
        axes.append([slice(start + wanted * i, start + wanted * (i + 1)) for i in range(count)])
    return list(product(*axes))


def padded(voxels: Array, size: tuple[int, ...]) -> Array:
    """Pad voxels on both sides to the size of a crop, with the smallest value."""
    widths = [
        ((want - have) // 2, want - have - (want - have) // 2) for have, want in zip(voxels.shape, size, strict=True)
    ]
    return np.pad(voxels, widths, constant_values=voxels.min()) if any(map(any, widths)) else voxels
