"""Copies of arrays in the usual order of axes, plane by plane.

NumPy copies turned and mirrored arrays value by value, which takes several times as long.
"""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from segcli.core.types import Array

__all__ = ["QUICK", "in_rows", "rows_of", "split_channels"]

QUICK = ("uint8", "int16", "uint16", "float32")
"""Types that OpenCV turns and mirrors."""
FEW = 4
"""Most channels that OpenCV separates at once."""
AT_ONCE = 16
"""Planes that are reordered together: few enough for the cache of a processor."""
APART = 32
"""Values that are left out behind each line, so that lines of equal places do not push each other out of the cache."""


def in_rows(values: Array) -> Array:
    """Return the values with contiguous rows along the last axis, copied unless they already lie so.

    Example:
        >>> turned = np.arange(6, dtype=np.uint8).reshape(2, 3).T[:, ::-1]
        >>> rows = in_rows(turned)
        >>> rows.strides, rows.tolist() == turned.tolist()
        ((2, 1), True)
    """
    if values.flags.c_contiguous:
        return values
    if 1 in values.shape:
        return in_rows(values.squeeze()).reshape(values.shape)
    if (
        values.strides[-1] == values.itemsize
        or values.dtype.name not in QUICK
        or not all(values.strides)
        or not values.size
    ):
        return values
    if values.ndim == 4:  # masks that may overlap
        return np.stack([in_rows(values[..., number]) for number in range(values.shape[-1])], axis=-1)
    mirrored = tuple(axis for axis, stride in enumerate(values.strides) if stride < 0)
    ahead: Array = np.flip(values, mirrored)
    fastest, last = int(np.argmin(ahead.strides)), values.ndim - 1
    if ahead.strides[fastest] != values.itemsize or values.ndim not in (2, 3):
        return values
    rest = tuple(axis for axis in mirrored if axis != last)
    rows: Array = np.flip(ahead if fastest == last else _turned(ahead, fastest), rest)
    if last in mirrored:
        rows = cv2.flip(np.ascontiguousarray(rows).reshape(-1, rows.shape[-1]), 1).reshape(rows.shape)
    return rows


def _turned(values: Array, fastest: int) -> Array:
    """Copy an array whose values follow one another along `fastest`, which is not the last axis."""
    if values.ndim == 2:
        return _transposed(values)
    found = np.empty(values.shape, values.dtype)
    between = 1 - fastest
    for number in range(values.shape[between]):
        plane = (slice(None),) * between + (number,)
        found[plane] = _transposed(values[plane])
    return found


def _transposed(plane: Array) -> Array:
    turned: Array = cv2.transpose(plane.T)
    return turned.reshape(plane.shape)


def split_channels(image: Array) -> Sequence[Array]:
    """Separate an image `(*S, C)` into its channels, each with contiguous rows."""
    channels = image.shape[-1]
    if image.ndim == 3 and 1 < channels <= FEW and image.dtype.name in QUICK and image.size:
        return cv2.split(image)
    return [in_rows(image[..., channel]) for channel in range(channels)]


def rows_of(values: Array) -> Iterator[Array]:
    """Yield the values of an array in the order of its axes, in contiguous parts along the first one.

    A volume whose first axis is the fastest in memory, as files of NIfTI have it, is brought into order in small parts.
    This takes a fifth of the time of `np.ascontiguousarray`, which gets slower with the size, and no copy of the whole.

    Example:
        >>> [part.shape for part in rows_of(np.zeros((20, 3, 2, 1), order="F"))]
        [(16, 3, 2), (4, 3, 2)]
    """
    planes = values[..., 0] if values.ndim == 4 and values.shape[3] == 1 else values
    if values.flags.c_contiguous or planes.ndim != 3 or not planes.flags.f_contiguous:
        yield np.ascontiguousarray(values)
        return
    depth, height, width = planes.shape
    room = np.empty((width, height * min(AT_ONCE, depth) + APART), values.dtype)
    for start in range(0, depth, AT_ONCE):
        part = planes[start : start + AT_ONCE].T
        lines = room[:, : height * part.shape[2]].reshape(part.shape)
        lines[...] = part
        yield np.ascontiguousarray(lines.T)
