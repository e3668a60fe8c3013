"""Centre lines of 2D masks."""

import cv2
import numpy as np

from segcli.core.types import Array

__all__ = ["thinned"]

RING = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
"""Neighbours from north clockwise; the paper's P2 to P9."""


def thinned(mask: Array) -> Array:
    """Thin a mask to centre lines one pixel wide; connected components stay connected.

    Paper: Guo and Hall, "Parallel thinning with two-subiteration algorithms", 1989,
    https://doi.org/10.1145/62065.62074. Unlike the thinning of Zhang and Suen it never erases a component; that one
    loses squares of 2 x 2 pixels and diagonals two pixels wide.

    Args:
        mask: Boolean `(H, W)`.

    Example:
        >>> import numpy as np
        >>> thinned(np.ones((3, 5), bool)).astype(int)
        array([[0, 0, 0, 0, 0],
               [0, 1, 1, 1, 0],
               [0, 0, 0, 0, 0]])
    """
    left: Array = np.ascontiguousarray(mask, dtype=np.uint8)
    before = -1
    while before != (before := cv2.countNonZero(left)):
        for removable in REMOVABLE:
            # filter2D computes a correlation: bit k of the sum is neighbour k; outside the image is background
            neighbours = cv2.filter2D(left, -1, BITS, borderType=cv2.BORDER_CONSTANT)
            left = cv2.subtract(left, cv2.LUT(neighbours, removable))
    return left.astype(bool)


def _bits() -> Array:
    kernel = np.zeros((3, 3), np.float32)
    for bit, (row, column) in enumerate(RING):
        kernel[1 + row, 1 + column] = 2**bit
    return kernel


def _removable() -> tuple[Array, Array]:
    """Tabulate for all 256 neighbourhoods if the centre pixel is removed, in each half of a step."""
    p2, p3, p4, p5, p6, p7, p8, p9 = np.arange(256) >> np.arange(8)[:, None] & 1
    num_runs = sum((1 - a) & (b | c) for a, b, c in ((p2, p3, p4), (p4, p5, p6), (p6, p7, p8), (p8, p9, p2)))
    num_pairs = np.minimum(
        (p9 | p2) + (p3 | p4) + (p5 | p6) + (p7 | p8),
        (p2 | p3) + (p4 | p5) + (p6 | p7) + (p8 | p9),
    )
    simple = (num_runs == 1) & (num_pairs >= 2) & (num_pairs <= 3)
    first = simple & ((p2 | p3 | (1 - p5)) & p4 == 0)
    second = simple & ((p6 | p7 | (1 - p9)) & p8 == 0)
    return first.astype(np.uint8), second.astype(np.uint8)


BITS = _bits()
REMOVABLE = _removable()
