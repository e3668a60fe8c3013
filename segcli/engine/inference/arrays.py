"""What the sliding window asks of a kind of array, and its answers for NumPy."""

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
from segcli.engine.inference.grid import Corner, Grid, weights_of
from segcli.engine.inference.views import STRAIGHT, View

__all__ = ["Arrays", "NumPyArrays", "Place", "Room", "Weights"]

HELD = 2**28
"""Bytes of outputs that are held in memory; more lies on the disk."""
Place = tuple[int | slice | EllipsisType, ...]


class Room(Protocol[A]):
    """Zeros to which parts are added."""

    def add(self, place: Place, values: A) -> None:
        """Add to a part."""
        ...

    def read(self, place: Place) -> A:
        """Give a part, which stays as it is until it is written again."""
        ...

    def write(self, place: Place, values: float) -> None:
        """Set a part."""
        ...

    def close(self) -> None:
        """Let go of the room."""
        ...


class Weights(Protocol[A]):
    """How the tiles of a grid are blended."""

    def weighed(self, values: A, corner: Corner) -> A:
        """Multiply outputs `(B, K, *tile)` by the weight of their place."""
        ...

    def finished(self, total: A, rows: slice) -> A:
        """Turn the sum of all tiles in some rows, `(B, K, rows, *rest)`, into their mean."""
        ...


class Arrays(ABC, Generic[A]):
    """Operations on arrays of one kind."""

    xp: ClassVar[Any]
    """Library that computes with them."""
    streams: ClassVar[bool]
    """Whether an image may be larger than the memory: tiles are read ahead and rows given as soon as they are
    complete, instead of everything at once."""

    @abstractmethod
    def joined(self, parts: Sequence[A]) -> A:
        """Join parts along their first axis."""

    @abstractmethod
    def seen(self, images: A, view: View) -> A:
        """Turn and flip images."""

    @abstractmethod
    def straight(self, values: A, view: View) -> A:
        """Bring what was found in this view to the place of the image."""

    @abstractmethod
    def image_at(self, images: A, size: tuple[int, ...]) -> A:
        """Give images at another size."""

    @abstractmethod
    def resized(self, values: A, size: tuple[int, ...]) -> A:
        """Give outputs `(B, K, *S)` at another size."""

    @abstractmethod
    def weights(self, grid: Grid, like: A) -> Weights[A]:
        """Weights of the tiles of a grid, beside outputs such as `like`."""

    @abstractmethod
    def room(self, shape: tuple[int, ...], like: A) -> Room[A]:
        """Make room for outputs in float32, beside outputs such as `like`."""


class NumPyArrays(Arrays[Array]):
    """Operations on NumPy arrays.

    Args:
        scratch: Folder for what is not held in memory; the system's own when left out.
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
        """Bring what was found in this view to the place of the image."""
        return values if view == STRAIGHT else np.rot90(np.flip(values, view.flips), -view.turns, (-2, -1))

    def image_at(self, images: Array, size: tuple[int, ...]) -> Array:
        """Give images at another size; stored pixels remain whole numbers."""
        values = interpolated(images, size)
        resized: Array = values if images.dtype.kind == "f" else np.rint(values).astype(images.dtype)
        return resized

    def resized(self, values: Array, size: tuple[int, ...]) -> Array:
        """Give outputs at another size."""
        return interpolated(values, size)

    def weights(self, grid: Grid, like: Array) -> Weights[Array]:
        """Weights that sum to 1 in each pixel."""
        return _Normalised(grid)

    def room(self, shape: tuple[int, ...], like: Array) -> Room[Array]:
        """Make room in memory, or on the disk when it is too large for that."""
        if math.prod(shape) * 4 > HELD:
            return Scratch(shape, np.float32, self.scratch)
        return _Memory(shape)


class _Memory:
    """Zeros in memory."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.values = np.zeros(shape, np.float32)

    def add(self, place: Place, values: Array) -> None:
        self.values[place] += values

    def read(self, place: Place) -> Array:
        return np.array(self.values[place])

    def write(self, place: Place, values: float) -> None:
        self.values[place] = values

    def close(self) -> None:
        """Nothing is to be done."""


class _Normalised:
    """One vector for each axis and start, since tiles form a grid and the weight is a product over the axes.

    Each is what remains of a weight after normalisation, so that no sum of weights is kept.
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
