"""Accumulation of tiles row by row, until rows are complete."""

import math
from collections.abc import Iterator, Mapping
from typing import Generic

from segcli.core.arrays import A
from segcli.engine.inference.arrays import Arrays, Room, Weights
from segcli.engine.inference.tiles.grid import Corner, Grid, Window

__all__ = ["Rows"]

GIVEN = 2**25
"""Largest outputs, in bytes, that are returned at once; at least one row."""


class Rows(Generic[A]):
    """Blends the tiles of a grid, which arrive row by row.

    If an image may be larger than the memory, a ring buffer one tile high holds the incomplete rows: row `r` is at `r`
    modulo the height of the ring. Otherwise all rows are kept.

    Args:
        arrays: Operations on the outputs.
        grid: Tiles of the image.
        outputs: Outputs of the first tile by name, `(B, K, *tile)`; all tiles have the same shapes.
    """

    def __init__(self, arrays: Arrays[A], grid: Grid, outputs: Mapping[str, A]) -> None:
        self.grid: Grid = grid
        self.height: int = grid.tile[0] if arrays.streams else grid.size[0]
        self.done: int = 0
        self.weights: Weights[A] = arrays.weights(grid, next(iter(outputs.values())))
        self.rooms: dict[str, Room[A]] = {}
        for name, values in outputs.items():
            self.rooms[name] = arrays.room(self._shape(values), values)
        row_bytes = sum(math.prod(self._shape(values)) for values in outputs.values()) // self.height * 4
        self.most: int = max(GIVEN // row_bytes, 1) if arrays.streams else self.height

    def _shape(self, values: A) -> tuple[int, ...]:
        """Compute the shape of the accumulator for outputs with tiles of this shape."""
        images, channels = values.shape[:2]
        return (images, channels, self.height, *self.grid.size[1:])

    def add(self, corner: Corner, outputs: Mapping[str, A]) -> None:
        """Add a tile, `(B, K, *tile)`; it must not begin above the first incomplete row."""
        start = corner[0] % self.height
        first = self.height - start  # rows up to the end of the ring
        _, *rest = self.grid.window(corner)
        for name, values in outputs.items():
            weighed = self.weights.weighed(values, corner)
            self._add(name, (slice(start, start + self.grid.tile[0]), *rest), weighed[:, :, :first])
            if first < self.grid.tile[0]:
                self._add(name, (slice(0, self.grid.tile[0] - first), *rest), weighed[:, :, first:])

    def _add(self, name: str, window: Window, values: A) -> None:
        self.rooms[name].add((slice(None), slice(None), *window), values)

    def until(self, stop: int) -> Iterator[tuple[slice, dict[str, A]]]:
        """Yield complete rows, a few at a time, and clear their memory for the next rows."""
        while self.done < stop:
            start = self.done % self.height
            count = min(stop - self.done, self.most, self.height - start)
            place = (slice(None), slice(None), slice(start, start + count))
            rows = slice(self.done, self.done + count)
            given = {name: self.weights.finished(room.read(place), rows) for name, room in self.rooms.items()}
            for room in self.rooms.values():
                room.write(place, 0.0)
            self.done += count
            yield rows, given

    def close(self) -> None:
        """Free the memory or the files."""
        for room in self.rooms.values():
            room.close()
