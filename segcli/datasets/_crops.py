"""Crops of small volumes: where they lie, how they are padded, and the crop size that fits the volumes."""

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product

import numpy as np

from segcli.core.types import Array
from segcli.data.checks import Finding

__all__ = ["Cut", "Window", "better_crop", "much_padding", "padded", "windows"]

Window = tuple[slice, ...]
Cut = tuple[tuple[int, ...], tuple[int, ...]]
"""Size of a whole volume, and size of the part of it that is in a crop."""
MUCH = 0.4
"""A larger share of padding in the crops is told, with a proposal."""
STEP = 4
"""A proposed length is a multiple of this, unless the volumes are shorter."""


@lru_cache(maxsize=64)  # each crop of a volume looks for its own among all of them
def windows(size: tuple[int, ...], margin: tuple[int, ...], crop: tuple[int, ...]) -> tuple[Window, ...]:
    """Cut a volume into crops: as many as fit side by side inside the margin, centred, but at least one.

    Example:
        >>> windows((10,), (1,), (4,)), windows((3,), (0,), (4,))
        (((slice(1, 5, None),), (slice(5, 9, None),)), ((slice(0, 3, None),),))
    """
    axes = []
    for length, cut_off, want in zip(size, margin, crop, strict=True):
        room = max(length - 2 * cut_off, 1)
        first = min(cut_off, max(length - 1, 0) // 2)
        if room <= want:
            axes.append([slice(first, first + room)])
            continue
        count = room // want
        start = first + (room - count * want) // 2
        axes.append([slice(start + want * i, start + want * (i + 1)) for i in range(count)])
    return tuple(product(*axes))


def padded(voxels: Array, size: tuple[int, ...], value: int | None = None) -> Array:
    """Pad voxels on both sides to the size of a crop, with a value; default: their smallest value."""
    widths = [
        ((want - have) // 2, want - have - (want - have) // 2) for have, want in zip(voxels.shape, size, strict=True)
    ]
    if not any(map(any, widths)):
        return voxels
    return np.pad(voxels, widths, constant_values=voxels.min() if value is None else value)


def _padding_share(cuts: Sequence[Cut], crop: tuple[int, ...]) -> float:
    """Compute the share of the voxels of all crops that are padding; 0 without crops.

    Example:
        >>> _padding_share([((4, 8), (4, 8)), ((8, 8), (8, 8))], (8, 8))
        0.25
    """
    total = len(cuts) * math.prod(crop)
    return 1.0 - sum(math.prod(part) for _, part in cuts) / total if total else 0.0


def _near_median(cuts: Sequence[Cut], crop: tuple[int, ...], margin: tuple[int, ...]) -> tuple[int, ...]:
    """Propose a smaller size of the crops: the median length within the margin, in steps of 4, along each axis.

    Example:
        >>> _near_median([(size, size) for size in [(16, 24, 24), (17, 23, 99), (18, 27, 90)]], (20, 40, 40), (0, 0, 1))
        (16, 24, 40)
    """
    inside = np.array([[max(n - 2 * cut, 1) for n, cut in zip(size, margin, strict=True)] for size, _ in cuts])
    steps = [int(middle) // STEP * STEP or int(middle) for middle in np.median(inside, axis=0)]
    return tuple(min(pair) for pair in zip(steps, crop, strict=True))


def better_crop(cuts: Sequence[Cut], crop: tuple[int, ...], margin: tuple[int, ...]) -> tuple[int, ...] | None:
    """Propose another size of the crops if more than 40 % of their voxels are padding; None if they fit.

    Args:
        cuts: Each crop.
        crop: Present size of the crops.
        margin: Voxels that are cut off at each end of each axis.
    """
    known = _readable(cuts)
    return _near_median(known, crop, margin) if _padding_share(known, crop) > MUCH else None


def _readable(cuts: Sequence[Cut]) -> list[Cut]:
    """Leave out the crops of samples that cannot be read, whose size is 0."""
    return [cut for cut in cuts if math.prod(cut[0])]


def much_padding(cuts: Sequence[Cut], crop: tuple[int, ...], margin: tuple[int, ...]) -> Iterator[Finding]:
    """Report crops that hold mostly padding, with a size that fits the volumes.

    Arguments as of `better_crop`.
    """
    cuts = _readable(cuts)
    better = better_crop(cuts, crop, margin)
    if better is None:
        return
    inside = np.median([whole for whole, _ in cuts], axis=0) - 2 * np.array(margin)
    middle = "x".join(str(max(int(length), 1)) for length in inside)
    within = " inside the margin" if any(margin) else ""
    message = (
        f"{_padding_share(cuts, crop):.0%} of the voxels of the crops are padding: `crop_size: {list(crop)}` is larger "
        f"than most samples, whose median size{within} is {middle}"
    )
    yield Finding("much_padding", "warning", None, message, f"set `crop_size: {list(better)}`")
