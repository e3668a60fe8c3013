"""Centre lines of 2D masks."""

import cv2
import numpy as np

from segcli.core.types import Array

__all__ = ["thinned"]

RING = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
"""Neighbours from north clockwise; the paper's P2 to P9."""

FEW = 64
"""Pixels of the whole mask for each removed one from which on only neighbours of removed pixels are looked at."""
SMALL = 2**16
"""Pixels up to which a look at the whole mask is the faster way."""


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
    whole: Array = np.ascontiguousarray(mask, dtype=np.uint8)
    column, row, width, height = cv2.boundingRect(whole)
    window = np.s_[row : row + height, column : column + width]
    lines = np.zeros(whole.shape, bool)
    left: Array = cv2.copyMakeBorder(whole[window], 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    num_removed = left.size
    while num_removed and num_removed * FEW > left.size - SMALL:
        before = left
        for removable in REMOVABLE:
            # filter2D computes a correlation: bit k of the sum is neighbour k; outside the image is background
            neighbours = cv2.filter2D(left, -1, BITS, borderType=cv2.BORDER_CONSTANT)
            left = cv2.subtract(left, cv2.LUT(neighbours, removable))
        num_removed = cv2.countNonZero(before) - cv2.countNonZero(left)
    if num_removed:
        _thin_further(left, np.flatnonzero(before != left))
    lines[window] = left[1:-1, 1:-1]
    return lines


def _thin_further(left: Array, removed: Array) -> None:
    """Continue in place, with a look only at neighbours of the pixels that the last two halves of a step removed.

    The others have the neighbours that they had when the same half of a step kept them. So a wide object takes time in
    proportion to its area, and not to the whole image times its width.

    Args:
        left: What is left of the mask after some steps, with a border of zeros.
        removed: Positions in the flat mask of the pixels that the last step removed.
    """
    pixels = left.reshape(-1)
    ring = [row * left.shape[1] + column for row, column in RING]
    earlier, latest = removed[:0], removed
    while len(earlier) or len(latest):
        for removable in REMOVABLE:
            looked_at = []
            for recent in (earlier, latest):
                for step in ring:
                    near = recent + step
                    near = near[pixels[near] == 1]
                    pixels[near] = 2  # still there, and not looked at twice
                    looked_at.append(near)
            positions = np.concatenate(looked_at)
            neighbours = np.zeros(len(positions), np.uint8)
            for bit, step in enumerate(ring):
                neighbours |= (pixels[positions + step] > 0).astype(np.uint8) << bit
            goes = removable[neighbours]
            pixels[positions] = 1 - goes
            earlier, latest = latest, positions[goes > 0]


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
