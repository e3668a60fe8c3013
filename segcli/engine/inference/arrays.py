"""Operations on arrays that the sliding window needs, and their NumPy version."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import EllipsisType
from typing import Any, ClassVar, Generic, Protocol

import numpy as np

from segcli.core.arrays import A
from segcli.core.scratch import Scratch
from segcli.core.types import Array
from segcli.data.samples import interpolated
from segcli.engine.inference.tiles.grid import Corner, Grid, weights_of
from segcli.engine.inference.views import STRAIGHT, View

__all__ = ["Arrays", "NumPyArrays", "Place", "Room", "Weights"]

HELD = 2**28
"""Largest outputs, in bytes, that are kept in memory; larger ones go to the disk."""
Place = tuple[int | slice | EllipsisType, ...]


class Room(Protocol[A]):
    """Accumulates parts in an array of zeros."""

    def add(self, place: Place, values: A) -> None:
        """Add values to a part of the array."""
        ...

    def read(self, place: Place) -> A:
        """Return a part; it stays unchanged until it is written again."""
        ...

    def write(self, place: Place, values: float) -> None:
        """Set a part of the array to values."""
        ...

    def close(self) -> None:
        """Free the memory or the file."""
        ...


class Weights(Protocol[A]):
    """Blends the tiles of a grid by weights."""

    def weighed(self, values: A, corner: Corner) -> A:
        """Multiply outputs `(B, K, *tile)` by the weights of their tile."""
        ...

    def finished(self, total: A, rows: slice) -> A:
        """Turn the weighted sum of all tiles in some rows, `(B, K, rows, *rest)`, into the weighted mean."""
        ...


class Arrays(ABC, Generic[A]):
    """Defines the operations for one array library."""

    xp: ClassVar[Any]
    """Library of these arrays."""
    streams: ClassVar[bool]
    """True if an image may be larger than the memory: tiles are read ahead, and rows are returned as soon as they are
    complete, not all at once."""

    @abstractmethod
    def joined(self, parts: Sequence[A]) -> A:
        """Join parts along their first axis."""

    @abstractmethod
    def seen(self, images: A, view: View) -> A:
        """Turn and flip images."""

    @abstractmethod
    def straight(self, values: A, view: View) -> A:
        """Undo the turn and the flips of a view in its outputs."""

    @abstractmethod
    def image_at(self, images: A, size: tuple[int, ...]) -> A:
        """Resize images."""

    @abstractmethod
    def resized(self, values: A, size: tuple[int, ...]) -> A:
        """Resize outputs `(B, K, *S)`."""

    @abstractmethod
    def weights(self, grid: Grid, like: A) -> Weights[A]:
        """Make the weights of the tiles of a grid, on the device of `like`."""

    @abstractmethod
    def room(self, shape: tuple[int, ...], like: A) -> Room[A]:
        """Make an accumulator in float32, on the device of `like`."""


class NumPyArrays(Arrays[Array]):
    """Implements the operations for NumPy arrays.

    Args:
        scratch: Folder for temporary files of large outputs; default: that of the system.
    """

    xp: ClassVar[Any] = np
    streams: ClassVar[bool] = True

    def __init__(self, scratch: Path | None = None) -> None:
        self.scratch = scratch

    def joined(self, parts: Sequence[Array]) -> Array:
        """Join parts along their first axis."""
        return np.concatenate(parts)

    def seen(self, images: Array, view: View) -> Array:
        """Turn and flip images."""
        if view == STRAIGHT:
            return images
        return np.ascontiguousarray(np.flip(np.rot90(images, view.turns, (-2, -1)), view.flips))

    def straight(self, values: Array, view: View) -> Array:
        """Undo the turn and the flips of a view in its outputs."""
        return values if view == STRAIGHT else np.rot90(np.flip(values, view.flips), -view.turns, (-2, -1))

    def image_at(self, images: Array, size: tuple[int, ...]) -> Array:
        """Resize images; stored integers remain integers."""
        values = interpolated(images, size)
        resized: Array = values if images.dtype.kind == "f" else np.rint(values).astype(images.dtype)
        return resized

    def resized(self, values: Array, size: tuple[int, ...]) -> Array:
        """Resize outputs."""
        return interpolated(values, size)

    def weights(self, grid: Grid, like: Array) -> Weights[Array]:
        """Make weights that sum to 1 in each pixel."""
        return _Normalised(grid)

    def room(self, shape: tuple[int, ...], like: Array) -> Room[Array]:
        """Make an accumulator in memory, or on the disk if it is too large for memory."""
        if math.prod(shape) * 4 > HELD:
            return Scratch(shape, np.float32, self.scratch)
        return _Memory(shape)


class _Memory:
    """Accumulates in memory."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.values = np.zeros(shape, np.float32)

    def add(self, place: Place, values: Array) -> None:
        self.values[place] += values

    def read(self, place: Place) -> Array:
        return np.array(self.values[place])

    def write(self, place: Place, values: float) -> None:
        self.values[place] = values

    def close(self) -> None:
        """Do nothing: Python frees the memory."""


class _Normalised:
    """Holds one vector of weights for each axis and start, since the weight of a tile is a product over the axes.

    The vectors are normalised, so that the sum of the weights is not needed.
    """

    def __init__(self, grid: Grid) -> None:
        axes = zip(grid.size, grid.tile, grid.starts, strict=True)
        self.along = [weights_of(length, tile, starts, grid.overlap) for length, tile, starts in axes]

    def weighed(self, values: Array, corner: Corner) -> Array:
        for axis, (weights, start) in enumerate(zip(self.along, corner, strict=True), start=2):
            weight = weights[start]
            if not (weight == 1.0).all():
                values = values * weight.reshape([-1 if axis == i else 1 for i in range(values.ndim)])
        return values

    def finished(self, total: Array, rows: slice) -> Array:
        return total
