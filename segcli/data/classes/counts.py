"""Counts of the values of a mask, faster than sorting them."""

import numpy as np

from segcli.core.types import Array, Mask

__all__ = ["class_counts", "values_of"]

FEW = 16
"""Classes up to which comparing the mask with each is faster than counting all at once."""


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
    values, found = np.unique(labels, return_counts=True)
    return values, found


def class_counts(mask: Array, valid: Mask, length: int) -> Array:
    """Count the valid pixels of each class, `(K)`.

    Args:
        mask: Class of each pixel, `(*S)`.
        valid: Pixels that count, `(*S)`.
        length: Number of classes K; larger numbers are not counted.
    """
    if length > FEW:
        return np.bincount(mask[valid], minlength=length)[:length]
    return np.array([np.count_nonzero((mask == number) & valid) for number in range(length)], np.int64)
