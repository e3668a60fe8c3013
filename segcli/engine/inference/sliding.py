"""Raw outputs for images of any size, band by band, in memory that does not grow with the image.

Tiles overlap and are blended with a Gaussian weight. They form a grid and the weight is a product over the axes, so
that each tile is weighed with what remains of it after normalisation, one vector per axis; no sum of weights is kept.
What is not complete yet is one tile high; of large volumes, where that is too much as well, it lies on the disk.

Works on NumPy arrays: checkpoints and exported files are run by the same code, the latter without PyTorch.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import combinations, product
from pathlib import Path
from typing import Literal

import numpy as np

from segcli.core.scratch import Scratch
from segcli.core.types import Array
from segcli.data.samples import interpolated

__all__ = ["STRAIGHT", "Forward", "Sliding", "Way", "scaled", "starts_of", "ways_of", "weights_of"]

Forward = Callable[[Array], dict[str, Array]]
"""From inputs `(B, C, *S)` to raw outputs in float32: `mask` `(B, K, *S)`, and what has no pixels, `(B, K)`."""
HELD = 2**28
"""Bytes of outputs that are held in memory; more lies on the disk."""
GIVEN = 2**25
"""Bytes of outputs that are given out at once, at least one row."""
Window = tuple[slice, ...]
Way = tuple[int, tuple[int, ...]]
"""Quarter turns in the plane of the last two axes, then the axes that are reversed, counted from the end."""
STRAIGHT: tuple[Way, ...] = ((0, ()),)
"""The image as it is, and nothing else."""


def ways_of(ndim: int, tta: bool | Literal["horizontal"]) -> tuple[Way, ...]:
    """Ways to look at an image whose outputs are averaged.

    All are the eight flips and quarter turns of a 2D image, or the eight flips of a volume, whose axes may differ.
    """
    if not tta:
        return STRAIGHT
    if tta == "horizontal":
        return (*STRAIGHT, (0, (-1,)))
    if ndim == 2:
        return tuple((turns, flips) for turns in range(4) for flips in ((), (-1,)))
    axes = range(-ndim, 0)
    return tuple((0, flips) for count in range(ndim + 1) for flips in combinations(axes, count))


def scaled(size: tuple[int, ...], scale: float, multiple: int) -> tuple[int, ...]:
    """A size times a factor, to the nearest multiple.

    Example:
        >>> scaled((480, 360), 1.25, 16)
        (608, 448)
    """
    return tuple(max(round(length * scale / multiple), 1) * multiple for length in size)


class Sliding:
    """Runs a network over an image in overlapping tiles.

    Args:
        forward: The network.
        tile: Largest size given to it at once; None for no limit.
        overlap: Share of a tile that the next one covers again.
        multiple: Sizes given to it are multiples of this.
        batch_size: Tiles per call.
        ways: Ways to look at each tile; the outputs are averaged over them.
        scales: Factors of the size at which each way is taken.
        scratch: Folder for what is not held in memory; the system's own when left out.
    """

    def __init__(
        self,
        forward: Forward,
        *,
        tile: tuple[int, ...] | None,
        overlap: float,
        multiple: int,
        batch_size: int = 1,
        ways: tuple[Way, ...] = STRAIGHT,
        scales: Sequence[float] = (1.0,),
        scratch: Path | None = None,
    ) -> None:
        self.forward = forward
        self.tile = None if tile is None else tuple(-(-length // multiple) * multiple for length in tile)
        self.overlap = overlap
        self.multiple = multiple
        self.batch_size = batch_size
        self.ways = ways
        self.scales = scales
        self.scratch = scratch
        self.highest: dict[str, Array] = {}
        """Of outputs without pixels, `(K)`, the highest of the tiles so far: what is anywhere is in the image."""

    def bands(self, read: Callable[[Window], Array], size: tuple[int, ...]) -> Iterator[tuple[slice, Array]]:
        """Rows along the first axis with the raw outputs of their mask `(K, rows, *rest)`, in order, each row once.

        The next tiles are read while the network works on these.

        Args:
            read: Gives the input of a window, `(C, *window)`.
            size: Of the whole input; a multiple of `multiple` along each axis.
        """
        tile = size if self.tile is None else tuple(min(pair) for pair in zip(size, self.tile, strict=True))
        starts = [starts_of(length, part, self.overlap) for length, part in zip(size, tile, strict=True)]
        weights = [
            weights_of(length, part, begins, self.overlap)
            for length, part, begins in zip(size, tile, starts, strict=True)
        ]
        held: _Rows | None = None
        corners = [list(product([row], *starts[1:])) for row in starts[0]]
        groups = [
            (row, corner[first : first + self.batch_size])
            for row, corner in enumerate(corners)
            for first in range(0, len(corner), self.batch_size)
        ]
        try:
            for (row, group), outputs in zip(groups, self._outputs(read, groups, tile), strict=True):
                masks = outputs["mask"]
                self._note({name: values for name, values in outputs.items() if values.ndim < masks.ndim})
                held = held or _Rows((masks.shape[1], tile[0], *size[1:]), self.scratch)
                yield from held.until(starts[0][row])  # rows above the first of these tiles are complete
                for corner, values in zip(group, masks, strict=True):
                    place = tuple(slice(at, at + part) for at, part in zip(corner[1:], tile[1:], strict=True))
                    held.add(place, _weighed(values, weights, corner))
            assert held is not None
            yield from held.until(size[0])
        finally:
            if held is not None:
                held.close()

    def _note(self, outputs: dict[str, Array]) -> None:
        for name, values in outputs.items():
            highest = values.max(axis=0)
            self.highest[name] = np.maximum(self.highest[name], highest) if name in self.highest else highest

    def _outputs(
        self,
        read: Callable[[Window], Array],
        groups: Sequence[tuple[int, list[tuple[int, ...]]]],
        tile: tuple[int, ...],
    ) -> Iterator[dict[str, Array]]:
        """Raw outputs of each group of tiles; the next group is read meanwhile."""

        def stacked(group: list[tuple[int, ...]]) -> Array:
            return np.stack(
                [read(tuple(slice(at, at + part) for at, part in zip(corner, tile, strict=True))) for corner in group]
            )

        if len(groups) == 1:
            yield self.looked(stacked(groups[0][1]))
            return
        with ThreadPoolExecutor(1, "read") as pool:
            ahead: Future[Array] = pool.submit(stacked, groups[0][1])
            try:
                for index in range(len(groups)):
                    images = ahead.result()
                    if index + 1 < len(groups):
                        ahead = pool.submit(stacked, groups[index + 1][1])
                    yield self.looked(images)
            finally:
                ahead.cancel()

    def looked(self, images: Array) -> dict[str, Array]:
        """Raw outputs for images `(B, C, *S)` or tiles as they are, averaged over all ways and scales."""
        return _mean((self._at(images, scale) for scale in self.scales), len(self.scales))

    def _at(self, images: Array, scale: float) -> dict[str, Array]:
        """What is found in images that are seen at another size, at their own."""
        if scale == 1.0:
            return self._turned(images)
        size = images.shape[2:]
        found = self._turned(_sized(images, scaled(size, scale, self.multiple)))
        return {
            name: interpolated(values, size) if values.ndim == images.ndim else values for name, values in found.items()
        }

    def _turned(self, images: Array) -> dict[str, Array]:
        """Mean of the outputs over all ways to look at images."""
        return _mean((self._seen(images, way) for way in self.ways), len(self.ways))

    def _seen(self, images: Array, way: Way) -> dict[str, Array]:
        """What is found in images that are turned and flipped, turned back; what has no pixels stays as it is."""
        if way == STRAIGHT[0]:
            return self.forward(images)
        turns, flips = way
        found = self.forward(np.ascontiguousarray(np.flip(np.rot90(images, turns, (-2, -1)), flips)))
        return {
            name: np.rot90(np.flip(values, flips), -turns, (-2, -1)) if values.ndim == images.ndim else values
            for name, values in found.items()
        }


def _mean(outputs: Iterable[dict[str, Array]], count: int) -> dict[str, Array]:
    """Mean of `count` outputs, one held at a time."""
    total: dict[str, Array] = {}
    for found in outputs:
        total = {name: total[name] + values for name, values in found.items()} if total else found
    return {name: values / np.float32(count) for name, values in total.items()} if count > 1 else total


class _Rows:
    """Outputs `(K, tile, *rest)` of the rows that are not complete, in a ring: row `r` lies at `r` modulo the tile.

    Args:
        shape: Of what is held.
        scratch: Folder where it lies when it is too large for the memory.
    """

    def __init__(self, shape: tuple[int, ...], scratch: Path | None) -> None:
        self.height, self.done = shape[1], 0
        large = math.prod(shape) * 4 > HELD
        self.memory = None if large else np.zeros(shape, np.float32)
        self.disk = Scratch(shape, np.float32, scratch) if large else None
        self.most = max(GIVEN // (math.prod(shape) // shape[1] * 4), 1)

    def add(self, place: Window, values: Array) -> None:
        """Add a tile `(K, tile, *part)` whose first row is the first that is not complete."""
        first = self.height - self.done % self.height  # rows up to the end of the ring
        for rows, part in (
            (slice(self.done % self.height, self.height), values[:, :first]),
            (slice(0, self.height - first), values[:, first:]),
        ):
            if not part.shape[1]:
                continue
            if self.memory is not None:
                self.memory[(slice(None), rows, *place)] += part
            else:
                assert self.disk is not None
                self.disk.add((slice(None), rows, *place), part)

    def until(self, stop: int) -> Iterator[tuple[slice, Array]]:
        """Rows that are complete, a few at a time; their room is free for the next ones."""
        while self.done < stop:
            start = self.done % self.height
            count = min(stop - self.done, self.most, self.height - start)
            place = (slice(None), slice(start, start + count))
            if self.memory is not None:
                given = self.memory[place].copy()
                self.memory[place] = 0.0
            else:
                assert self.disk is not None
                given = self.disk.read(place)
                self.disk.write(place, 0.0)
            self.done += count
            yield slice(self.done - count, self.done), given

    def close(self) -> None:
        """Let go of the room."""
        if self.disk is not None:
            self.disk.close()


def _sized(images: Array, size: tuple[int, ...]) -> Array:
    """Images at another size; stored pixels remain whole numbers."""
    values = interpolated(images, size)
    resized: Array = values if images.dtype.kind == "f" else np.rint(values).astype(images.dtype)
    return resized


def starts_of(length: int, tile: int, overlap: float) -> list[int]:
    """Where tiles begin along an axis: spread evenly, overlapping by at least the share `overlap`.

    Example:
        >>> starts_of(100, 40, 0.25)
        [0, 30, 60]
    """
    stride = max(int(tile * (1.0 - overlap)), 1)
    count = -(-(length - tile) // stride) + 1
    return [round(index * (length - tile) / max(count - 1, 1)) for index in range(count)]


def weights_of(length: int, tile: int, starts: list[int], overlap: float) -> dict[int, Array]:
    """Say of each pixel of a tile along an axis, by the tile's start; over all tiles it sums to 1 in each pixel.

    A Gaussian of an eighth of the tile, and next to nothing at the very border: a tile is padded there, which the
    network sees as far as its receptive field reaches in. The outer quarter of the overlap is therefore left to the
    neighbours; where there are none, normalisation makes up for it.
    """
    position = np.arange(tile)
    profile = np.maximum(np.exp(-0.5 * ((position - (tile - 1) / 2) / (tile / 8)) ** 2), 1e-3)
    profile[np.minimum(position, tile - 1 - position) < int(tile * overlap / 4)] *= 1e-4
    total = np.zeros(length)
    for start in starts:
        total[start : start + tile] += profile
    return {start: (profile / total[start : start + tile]).astype(np.float32) for start in starts}


def _weighed(values: Array, weights: list[dict[int, Array]], corner: tuple[int, ...]) -> Array:
    """Outputs `(K, *tile)` times the weight of their place."""
    for axis, (weight, start) in enumerate(zip(weights, corner, strict=True), start=1):
        along = weight[start]
        if not (along == 1.0).all():
            values = values * along.reshape([-1 if axis == i else 1 for i in range(values.ndim)])
    return values
