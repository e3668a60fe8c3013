"""Images that are saturated or hold extreme values."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import cv2
import numpy as np

from segcli.core.types import Array

__all__ = ["Brightness", "brightness_of", "far_off", "saturated"]

SATURATED = 0.33
"""Smallest share of the pixels at the largest value that is reported."""
UNUSUAL = 0.05
"""Largest median share of the data set with which an image is reported."""
TOP = 255
"""Largest value of 8 bits."""
NEAR_TOP = 252
"""Values from here on are saturated, too, in an image with the largest value: JPEG changes them a little."""
EXTREME = 20.0
"""Distance of the largest or smallest value from the range of 99 % of the pixels, as a multiple of this range."""
BEYOND = 8.0
"""Largest value of an image, as a multiple of those of all others, that is reported if its other values are usual."""
AS_USUAL = 2.0
"""Value that 0.5 % of its pixels exceed then, at most, as a multiple of the median of all images."""
FEWEST = 4


@dataclass(frozen=True, slots=True)
class Brightness:
    """Describes the range of the values of an image."""

    at_top: float
    """Share of the pixels whose channels all have the largest value."""
    low: float
    high: float
    bright: float | None
    """Value that 0.5 % of the pixels exceed; None for 8-bit images."""
    extreme: bool
    """True if the smallest or largest value is far from all others."""


def brightness_of(image: Array) -> Brightness:
    """Describe an image `(*S, C)`."""
    if image.dtype == np.uint8:
        tops = image.reshape(len(image), -1).max(axis=0).reshape(-1, image.shape[-1]).max(axis=0)
        low, high = float(image.min()), float(tops.max())
        may_be = high == TOP and tops.min() >= NEAR_TOP  # which is told faster than the pixels are counted
        return Brightness(_at_top_8(image) if may_be else 0.0, low, high, None, extreme=False)
    low, high = float(image.min()), float(image.max())
    dark, bright = (float(value) for value in np.percentile(image.ravel(order="K"), [0.5, 99.5]))
    far = max(high - bright, dark - low) > EXTREME * (bright - dark) > 0
    at_top = float((image == image.max()).all(axis=-1).mean()) if high > low else 0.0
    return Brightness(at_top, low, high, bright, extreme=bool(far))


def far_off(images: Sequence[Brightness]) -> Iterator[int]:
    """Find images of which a few values are far from the other values of the image, or from those of all images."""
    known = [i for i, each in enumerate(images) if each.bright is not None]
    tops = sorted((images[i].high for i in known), reverse=True)
    usual = float(np.median([images[i].bright or 0.0 for i in known])) if known else 0.0
    for i in known:
        each = images[i]
        is_beyond = len(known) >= FEWEST and each.high == tops[0] > BEYOND * tops[1] > 0
        if each.extreme or (is_beyond and (each.bright or 0.0) <= AS_USUAL * usual):
            yield i


def saturated(images: Sequence[Brightness]) -> Iterator[int]:
    """Find images of which an unusual share is saturated."""
    shares = [each.at_top for each in images if each.high > each.low]
    if not shares or float(np.median(shares)) > UNUSUAL:
        return
    for i, each in enumerate(images):
        if each.at_top >= SATURATED and each.high > each.low:
            yield i


def _at_top_8(image: Array) -> float:
    if image.ndim == 3 and image.shape[2] <= 4:
        darkest = reduce(cv2.min, cv2.split(image))
        return float(np.count_nonzero(darkest >= NEAR_TOP) / darkest.size)
    return float((image >= NEAR_TOP).all(axis=-1).mean())
