"""Sizes of the objects in masks: connected regions of one class."""

from collections.abc import Iterator, Mapping

import cv2
import numpy as np

from segcli.core.types import Array

__all__ = ["counted_mask", "objects_of"]


def counted_mask(maps: Mapping[str, Array]) -> Array | None:
    """Return the mask of a sample with nothing at pixels that do not count; None if the sample has no mask."""
    mask, valid = maps.get("mask"), maps.get("valid")
    if mask is None or valid is None:
        return mask
    counts = valid > 0
    counted: Array = mask * (counts if mask.ndim == counts.ndim else counts[..., None])
    return counted


def objects_of(mask: Array) -> Iterator[tuple[int, tuple[int, ...], int]]:
    """Find the objects of a mask, `(*S)` with the number of a class, or `(*S, K)` with a mask for each class.

    Yields:
        Number of the class, extent along each axis, and number of pixels, of each object. Class 0 of a mask of numbers
        is the background and has none.
    """
    numbers = [int(number) for number in np.unique(mask) if number] if mask.ndim in (2, 3) else range(mask.shape[-1])
    for number in numbers:
        yield from ((number, *each) for each in _regions(mask == number if mask.ndim < 4 else mask[..., number] > 0))


def _regions(found: Array) -> Iterator[tuple[tuple[int, ...], int]]:
    if found.ndim == 2:
        _, _, about, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8), connectivity=8)
        for row in about[1:]:
            yield (int(row[cv2.CC_STAT_HEIGHT]), int(row[cv2.CC_STAT_WIDTH])), int(row[cv2.CC_STAT_AREA])
        return
    from scipy import ndimage  # noqa: PLC0415 - only volumes need it

    labels, count = ndimage.label(found, np.ones((3,) * found.ndim, bool))
    pixels = np.bincount(labels.ravel(), minlength=count + 1)
    for number, window in enumerate(ndimage.find_objects(labels), start=1):
        yield tuple(each.stop - each.start for each in window), int(pixels[number])
