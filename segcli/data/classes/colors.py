"""Masks painted in colours: from RGB to class indices.

A table with one byte for each of the 2^24 colours makes the lookup exact and fast. Memory pages of the table without
any colour are never written, so the kernel does not allocate them.
"""

import mmap
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from segcli.core.types import Array

__all__ = ["MAX_COLORS", "RGB", "UNKNOWN", "ColorTable", "Stray"]

RGB = tuple[int, int, int]
UNKNOWN = 255
"""Index of a pixel whose colour is not in the table."""
MAX_COLORS = 255
BLOCK = 1 << 14
"""Pixels processed at once; intermediate results stay in the processor's cache."""
LOW_24_BITS = np.uint32(0xFFFFFF)


@dataclass(frozen=True)
class Stray:
    """Describes a colour of a mask that belongs to no class."""

    color: RGB
    count: int
    """Pixels of this colour."""
    nearest: int
    """Position in the table of the nearest colour in RGB."""
    distance: float
    """Euclidean distance to the nearest colour."""


class ColorTable:
    """Looks up the index of each colour exactly.

    Args:
        colors: Colours, all different; a pixel of the n-th one gets the index n.

    Example:
        >>> table = ColorTable([(128, 64, 128), (0, 0, 0)])
        >>> table.indices(np.array([[[0, 0, 0], [128, 64, 128], [1, 2, 3]]], np.uint8))
        array([[  1,   0, 255]], dtype=uint8)
    """

    def __init__(self, colors: Sequence[RGB]) -> None:
        assert len(colors) <= MAX_COLORS
        assert len(set(colors)) == len(colors)
        self.colors = np.array(colors, dtype=np.int32).reshape(-1, 3)
        self._table = _zeros(1 << 24)
        """Index plus 1 for each packed colour; 0 means no class and takes no memory."""
        self._table[_packed(self.colors)] = np.arange(1, len(colors) + 1)

    def indices(self, rgb: Array) -> Array:
        """Look up each pixel, `(H, W, 3)` uint8 -> `(H, W)` uint8; `UNKNOWN` where the colour is not in the table."""
        assert rgb.dtype == np.uint8
        pixels = np.ascontiguousarray(rgb).reshape(1, -1, 3)  # OpenCV is fast along rows
        found = np.empty(pixels.shape[1], np.uint8)
        for start in range(0, len(found), BLOCK):
            # a fourth byte makes each pixel one number, little-endian: red lowest, the fourth byte highest
            packed = cv2.cvtColor(pixels[:, start : start + BLOCK], cv2.COLOR_RGB2RGBA).view("<u4").ravel()
            packed &= LOW_24_BITS
            np.take(self._table, packed, out=found[start : start + BLOCK], mode="clip")
        found -= 1  # 0 turns into 255, which is UNKNOWN
        return found.reshape(rgb.shape[:2])

    def strays(self, rgb: Array, indices: Array) -> list[Stray]:
        """List the colours that are not in the table, the most frequent first."""
        colors, counts, nearest, distances = self._unknown(rgb[indices == UNKNOWN])[:4]
        order = np.argsort(-counts, kind="stable")
        return [
            Stray((int(r), int(g), int(b)), int(counts[at]), int(nearest[at]), float(distances[at]))
            for at in order
            for r, g, b in [colors[at]]
        ]

    def filled(self, rgb: Array, indices: Array) -> Array:
        """Return the indices, with `UNKNOWN` replaced by the nearest colour of the table."""
        unknown = indices == UNKNOWN
        _, _, nearest, _, inverse = self._unknown(rgb[unknown])
        filled = indices.copy()
        filled[unknown] = nearest[inverse]
        return filled

    def _unknown(self, pixels: Array) -> tuple[Array, Array, Array, Array, Array]:
        """Find the unique colours of `pixels` `(N, 3)`: colours, counts, nearest, distance, and the inverse index."""
        packed, inverse, counts = np.unique(_packed(pixels.astype(np.int32)), return_inverse=True, return_counts=True)
        colors = np.stack([packed & 255, packed >> 8 & 255, packed >> 16], axis=-1)
        squares = np.stack([((colors - color) ** 2).sum(axis=1) for color in self.colors])
        nearest = squares.argmin(axis=0)
        return colors, counts, nearest, np.sqrt(squares.min(axis=0)), inverse


def _zeros(length: int) -> Array:
    """Make zeros that take memory only where they are changed, a small page at a time.

    NumPy takes large pages, and memory that was used before: then all of the table is written to.
    """
    return np.frombuffer(mmap.mmap(-1, length), np.uint8)


def _packed(colors: Array) -> Array:
    """Pack each colour of `(N, 3)` into one number, red in the lowest byte."""
    packed: Array = colors[:, 0] | colors[:, 1] << 8 | colors[:, 2] << 16
    return packed
