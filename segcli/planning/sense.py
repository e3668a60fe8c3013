"""Tell whether images have a fixed top or a fixed left: whether classes lie in the same order in every sample."""

from collections.abc import Sequence

import numpy as np

from segcli.core.types import Array

__all__ = ["centres_of", "is_ordered"]

PIXELS = 250_000
"""Pixels of a mask whose places count, in whole rows and columns."""
FEWEST = 8
"""Samples that hold two classes, below which their order may be chance."""
APART = 0.05
"""Smallest distance between the centres of two classes, as a part of the image's side."""


def centres_of(mask: Array, valid: Array, count: int) -> Array:
    """Compute the centre of each class along rows and columns, `(2, count)` from 0 to 1; NaN for absent classes.

    Example:
        >>> centres_of(np.array([[0, 1]]), np.ones((1, 2), bool), 2)[1].tolist()
        [0.25, 0.75]
    """
    step = max(round((mask.size / PIXELS) ** 0.5), 1)
    mask, valid = mask[::step, ::step], valid[::step, ::step]
    inside = valid & (mask < count)
    numbers = mask[inside]
    totals = np.bincount(numbers, minlength=count)
    sums = [
        np.bincount(numbers, weights=(at + 0.5) / size, minlength=count)
        for at, size in zip(np.nonzero(inside), mask.shape, strict=True)
    ]
    with np.errstate(invalid="ignore"):
        centres: Array = np.array(sums) / totals
    return centres


def is_ordered(centres: Sequence[Array], axis: int, classes: Sequence[int]) -> bool:
    """Tell whether one class lies before another along an axis in every sample, such as the left lung.

    Args:
        centres: Centres of all classes in each sample, of `centres_of`.
        axis: 0 from top to bottom, 1 from left to right.
        classes: Numbers of the classes that count: all but the background.
    """
    if len(centres) < FEWEST:
        return False
    table = np.array([each[axis] for each in centres])[:, list(classes)]
    for number in range(table.shape[1]):
        apart = table[:, number + 1 :] - table[:, [number]]
        lacking = np.isnan(apart)
        enough = (~lacking).sum(axis=0) >= FEWEST
        after = (lacking | (apart >= APART)).all(axis=0)
        before = (lacking | (apart <= -APART)).all(axis=0)
        if (enough & (after | before)).any():
            return True
    return False
