"""Correction of binary masks, where no pixel needs a decision of a person."""

import numpy as np

from segcli.core.types import Array

__all__ = ["sharpened"]

SURE = 0.9
"""Share of the pixels that must be near background or foreground."""
NEAR = 0.1
"""Distance from background or foreground that is near, as a share of the foreground."""
SHARP = 64
"""A smaller largest value does not tell foreground from background."""
FOREGROUND = np.uint8(255)


def sharpened(marks: Array) -> tuple[Array, str] | None:
    """Write a binary mask as 0 and 255; return it with what was done.

    Args:
        marks: Integers as stored, or bool for one bit per pixel.

    Returns:
        None for a mask that is right, or whose meaning is not clear.

    Example:
        >>> sharpened(np.array([[0, 1]], np.uint8))
        (array([[  0, 255]], dtype=uint8), '0 and 1 written as 0 and 255')
        >>> sharpened(np.array([[0, 255]], np.uint8)) is None
        True
    """
    top = int(marks.max(initial=0))
    values = {0, top} if marks.dtype == bool else {int(value) for value in np.unique(marks)}
    if marks.dtype == bool or top == 0 or values <= {0, 255}:
        return None
    if values <= {0, 1} or values <= {0, 65535}:
        return (marks > 0).astype(np.uint8) * FOREGROUND, f"0 and {top} written as 0 and 255"
    near = (marks <= NEAR * top) | (marks >= (1 - NEAR) * top)
    if top < SHARP or float(near.mean()) < SURE:
        return None
    return (marks > top // 2).astype(np.uint8) * FOREGROUND, f"smoothed outlines cut at {top // 2}"
