"""Positions and weights of tiles, for any kind of array."""

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from segcli.core.types import Array

__all__ = ["Corner", "Grid", "Window", "profile", "scaled", "starts_of", "weights_of"]

Corner = tuple[int, ...]
"""First pixel of a tile along each axis."""
Window = tuple[slice, ...]


@dataclass(frozen=True)
class Grid:
    """Covers an image with tiles of one size, spread evenly, that overlap by at least the share `overlap`."""

    size: tuple[int, ...]
    """Size of the image."""
    tile: tuple[int, ...]
    overlap: float

    @cached_property
    def starts(self) -> list[list[int]]:
        """List the starts of the tiles along each axis."""
        return [starts_of(length, part, self.overlap) for length, part in zip(self.size, self.tile, strict=True)]

    @cached_property
    def corners(self) -> list[Corner]:
        """List all tiles, row by row."""
        return list(product(*self.starts))

    def window(self, corner: Corner) -> Window:
        """Return the window of a tile."""
        return tuple(slice(start, start + part) for start, part in zip(corner, self.tile, strict=True))

    def groups(self, count: int, *, within_rows: bool) -> list[list[Corner]]:
        """Group the tiles that the network sees together, at most `count` per group.

        Args:
            count: Tiles of a full group.
            within_rows: Whether the tiles of a group begin in the same row.
        """
        across = len(self.corners) // len(self.starts[0]) if within_rows else len(self.corners)
        rows = [self.corners[first : first + across] for first in range(0, len(self.corners), across)]
        return [row[first : first + count] for row in rows for first in range(0, len(row), count)]


def starts_of(length: int, tile: int, overlap: float) -> list[int]:
    """Spread tiles evenly along an axis, overlapping by at least the share `overlap`.

    Returns:
        The start of each tile.

    Example:
        >>> starts_of(100, 40, 0.25)
        [0, 30, 60]
    """
    stride = max(int(tile * (1.0 - overlap)), 1)
    count = -(-(length - tile) // stride) + 1
    return [round(index * (length - tile) / max(count - 1, 1)) for index in range(count)]


def scaled(size: tuple[int, ...], scale: float, multiple: int) -> tuple[int, ...]:
    """Multiply a size by a factor and round to the nearest multiple.

    Example:
        >>> scaled((480, 360), 1.25, 16)
        (608, 448)
    """
    return tuple(max(round(length * scale / multiple), 1) * multiple for length in size)


def profile(tile: int, overlap: float, xp: Any = np) -> Any:
    """Compute the weight of each pixel along an axis of a tile, before normalisation.

    The weight is a Gaussian with a standard deviation of an eighth of the tile. The outer quarter of the overlap has
    almost no weight: near the border of a tile, the padding reaches into the receptive field of the network, so the
    neighbouring tiles decide there. At the border of the image, normalisation compensates for the small weight.

    Args:
        tile: Length of the tile.
        overlap: Share of a tile that the next tile covers too.
        xp: Array library, `numpy` or `torch`; it computes in its default floating-point type.
    """
    position = xp.arange(tile)
    gaussian = xp.exp(-0.5 * ((position - (tile - 1) / 2) / (tile / 8)) ** 2).clip(min=1e-3)
    margin = xp.minimum(position, tile - 1 - position)
    return xp.where(margin < int(tile * overlap / 4), gaussian * 1e-4, gaussian)


def weights_of(length: int, tile: int, starts: list[int], overlap: float) -> dict[int, Array]:
    """Compute the weights along an axis for each start of a tile; over all tiles they sum to 1 in each pixel."""
    weight, total = profile(tile, overlap), np.zeros(length)
    for start in starts:
        total[start : start + tile] += weight
    return {start: (weight / total[start : start + tile]).astype(np.float32) for start in starts}
