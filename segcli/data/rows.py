"""Copies of arrays in the usual order of axes, plane by plane: NumPy copies turned and mirrored arrays value by value."""

from collections.abc import Sequence

import cv2
import numpy as np

from segcli.core.types import Array

__all__ = ["QUICK", "in_rows", "split_channels"]

QUICK = ("uint8", "int16", "uint16", "float32")
"""Types that OpenCV turns and mirrors."""
FEW = 4
"""Most channels that OpenCV separates at once."""


def in_rows(values: Array) -> Array:
    """Return the values with each row contiguous and the last axis fastest; copied unless they already are so.

    Example:
        >>> turned = np.arange(6, dtype=np.uint8).reshape(2, 3).T[:, ::-1]
        >>> in_rows(turned).flags.c_contiguous, in_rows(turned).tolist() == turned.tolist()
        (True, True)
    """
    if values.flags.c_contiguous:
        return values
    if 1 in values.shape:
        return in_rows(values.squeeze()).reshape(values.shape)
    if values.dtype.name not in QUICK or not all(values.strides) or not values.size:
        return np.ascontiguousarray(values)
    if values.ndim == 4 and values.strides[-1] != values.itemsize:  # masks that may overlap
        return np.stack([in_rows(values[..., number]) for number in range(values.shape[-1])], axis=-1)
    if values.ndim not in (2, 3):
        return np.ascontiguousarray(values)
    mirrored = [axis for axis, stride in enumerate(values.strides) if stride < 0]
    ahead = np.flip(values, mirrored)
    fastest = int(np.argmin(ahead.strides))
    if ahead.strides[fastest] != values.itemsize:
        return np.ascontiguousarray(values)
    last = values.ndim - 1
    if fastest == last:
        rows = np.ascontiguousarray(np.flip(values, last) if last in mirrored else values)
    else:
        rows = np.ascontiguousarray(np.flip(_turned(ahead, fastest), [axis for axis in mirrored if axis != last]))
    if last in mirrored:
        rows = cv2.flip(rows.reshape(-1, rows.shape[-1]), 1).reshape(rows.shape)
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
    """Separate an image `(*S, C)` into its channels, each contiguous."""
    channels = image.shape[-1]
    if image.ndim == 3 and 1 < channels <= FEW and image.dtype.name in QUICK and image.size:
        return cv2.split(image)
    return [in_rows(image[..., channel]) for channel in range(channels)]
