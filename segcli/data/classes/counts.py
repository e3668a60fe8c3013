"""Counts of the values of a mask, faster than sorting them."""

import cv2
import numpy as np

from segcli.core.types import Array, Mask

__all__ = ["NUMBERS", "class_counts", "values_of"]

NUMBERS = 256
"""Numbers of 8 bits."""
EXACT = 2**24
"""OpenCV counts in float32, which is exact up to this number."""
FEW = 16
"""Classes up to which comparing the mask with each is faster than counting all at once."""
FEW_OF_8_BITS = 4
"""Classes up to which this is so for masks of 8 bits, whose numbers OpenCV counts all at once."""


def values_of(labels: Array) -> tuple[Array, Array]:
    """Return the different values in ascending order, and the count of each, as `np.unique` does.

    Example:
        >>> [each.tolist() for each in values_of(np.array([0, 255, 0], np.uint8))]
        [[0, 255], [2, 1]]
    """
    if labels.size:
        low, high = labels.min(), labels.max()
        counts = [int(np.count_nonzero(labels == value)) for value in ((low,) if low == high else (low, high))]
        if sum(counts) == labels.size:
            return np.array([low, high][: len(counts)], labels.dtype), np.array(counts)
    if labels.dtype == np.uint8:
        found = _histogram(labels, None)
        values = np.flatnonzero(found)
        return values.astype(np.uint8), found[values]
    values, found = np.unique(labels, return_counts=True)
    return values, found


def class_counts(mask: Array, valid: Mask | None, length: int) -> Array:
    """Count the valid pixels of each class, `(K)`.

    Args:
        mask: Class of each pixel, `(*S)`.
        valid: Pixels that count, `(*S)`; None for all.
        length: Number of classes K; larger numbers are not counted.
    """
    is_small = mask.dtype == np.uint8 and length <= NUMBERS
    if is_small and length > FEW_OF_8_BITS:
        if valid is not None and length < NUMBERS:  # leaving pixels out is slow: they get a number that is not counted
            mask, valid = mask | (valid.view(np.uint8) - np.uint8(1)), None
        return _histogram(mask, valid)[:length]
    if length > FEW and not is_small:
        return np.bincount((mask if valid is None else mask[valid]).ravel(), minlength=length)[:length]
    same = (mask == number for number in range(length))
    return np.array([np.count_nonzero(each if valid is None else each & valid) for each in same], np.int64)


def _histogram(values: Array, valid: Mask | None) -> Array:
    """Count each of the numbers 0 to 255, `(256)`."""
    rows = np.ascontiguousarray(values).reshape(-1, values.shape[-1])
    inside = None if valid is None else np.ascontiguousarray(valid).view(np.uint8).reshape(rows.shape)
    step = max(EXACT // rows.shape[1], 1)
    counts = np.zeros(NUMBERS, np.int64)
    for start in range(0, len(rows), step):
        part = None if inside is None else inside[start : start + step]
        found = cv2.calcHist([rows[start : start + step]], [0], part, [NUMBERS], [0, NUMBERS])
        counts += found.ravel().astype(np.int64)
    return counts
