"""Normalisation of pixels: one channel after the other, straight into the layout that a network takes."""

from collections.abc import Callable

import cv2
import numpy as np

from segcli.core.types import Array
from segcli.data.rows import split_channels
from segcli.data.samples import TOPS

__all__ = ["Place", "Scale", "normalised_planes"]

Scale = tuple[Array, Array]
"""Values to subtract from each channel and to divide it by, each `(C,)` float32."""
Place = Callable[[tuple[int, ...], type[np.float32]], Array]
"""Makes an array of a shape and a type, whose values are not set."""
AT_ONCE = 2**16
"""Pixels of a part."""
EVERY_BYTE = np.arange(256, dtype=np.uint8)


def normalised_planes(image: Array, scale: Scale | None, place: Place = np.empty) -> Array:
    """Scale stored pixels `(*S, C)` to 0 to 1, then normalise each channel; return `(C, *S)` float32, contiguous.

    Pixels of 8 bits are looked up in a table of all 256 values. A part of another plane at a time stays in the cache of
    the processor; expressions of the whole image would work on rows as short as the number of channels.

    Args:
        image: `(*S, C)` uint8, uint16, int16 or float32.
        scale: Values to subtract from each channel and to divide it by; None only scales to 0 to 1.
        place: Makes the array of the result; all its values are written.
    """
    found = place((image.shape[-1], *image.shape[:-1]), np.float32)
    if not found.size:
        return found
    top = TOPS.get(image.dtype.name)
    is_byte = image.dtype == np.uint8
    for channel, stored in enumerate(split_channels(image)):
        plane = found[channel]
        numbers = None if scale is None else (scale[0][channel], scale[1][channel])
        if is_byte:
            table = np.empty(EVERY_BYTE.shape, np.float32)
            _normalise(EVERY_BYTE, table, top, numbers)
            cv2.LUT(stored.reshape(-1, stored.shape[-1]), table, dst=plane.reshape(-1, plane.shape[-1]))
            continue
        step = max(AT_ONCE * len(plane) // plane.size, 1)
        for start in range(0, len(plane), step):
            _normalise(stored[start : start + step], plane[start : start + step], top, numbers)
    return found


def _normalise(stored: Array, found: Array, top: float | None, numbers: tuple[Array, Array] | None) -> None:
    """Normalise values of a channel into `found`."""
    found[...] = stored
    if top is not None:
        found /= np.float32(top)
    if numbers is not None:
        found -= numbers[0]
        found /= numbers[1]
