"""Normalisation of pixels: one channel after the other, straight into the layout that a network takes."""

import numpy as np

from segcli.core.types import Array
from segcli.data.samples import TOPS

__all__ = ["Scale", "normalised_planes"]

Scale = tuple[Array, Array]
"""Values to subtract from each channel and to divide it by, each `(C,)` float32."""
AT_ONCE = 2**16
"""Pixels of a part."""


def normalised_planes(image: Array, scale: Scale | None) -> Array:
    """Scale stored pixels `(*S, C)` to 0 to 1, then normalise each channel; return `(C, *S)` float32, contiguous.

    A part of a plane at a time stays in the cache of the processor; expressions of the whole image would work on rows
    as short as the number of channels.

    Args:
        image: `(*S, C)` uint8, uint16, int16 or float32.
        scale: Values to subtract from each channel and to divide it by; None only scales to 0 to 1.
    """
    found = np.empty((image.shape[-1], *image.shape[:-1]), np.float32)
    step = max(AT_ONCE * len(image) * image.shape[-1] // max(image.size, 1), 1)
    for channel in range(image.shape[-1]):
        for start in range(0, len(image), step):
            _normalise(image[start : start + step, ..., channel], found[channel, start : start + step], scale, channel)
    return found


def _normalise(stored: Array, found: Array, scale: Scale | None, channel: int) -> None:
    """Normalise a part of a channel into `found`."""
    found[...] = stored
    if stored.dtype.name in TOPS:
        found /= np.float32(TOPS[stored.dtype.name])
    if scale is not None:
        found -= scale[0][channel]
        found /= scale[1][channel]
