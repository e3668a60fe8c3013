"""Tiled and compressed TIFF writer for images and stacks that may not fit in memory."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from segcli.core.files import replacing
from segcli.core.types import Array

__all__ = ["TILE", "TiledWriter", "tiled_tiff"]

TILE = 512
WAITING = 2
"""Largest number of bands that wait for compression."""


class TiledWriter:
    """Writes an image in bands of rows, or a stack plane by plane; a thread compresses and writes them."""

    def __init__(
        self, path: Path, size: tuple[int, ...], dtype: npt.DTypeLike, stack: dict[str, Any] | None = None
    ) -> None:
        self.size, self.dtype, self.stack = size, np.dtype(dtype), stack
        self.tile = TILE if stack is None else min(TILE, -(-max(size[1:]) // 16) * 16)
        self.queue: Queue[Array | None] = Queue(WAITING)
        self.error: BaseException | None = None
        self.abandoned = False
        self.ended = False
        self.thread = Thread(target=self._write, args=(path,), name="write", daemon=True)
        self.thread.start()

    def add(self, rows: Array) -> None:
        """Add the next rows, `(h, W)` or RGB `(h, W, 3)`, or the next planes `(d, H, W)`.

        Raises:
            OSError: Earlier rows or planes could not be written.
        """
        self.queue.put(np.ascontiguousarray(rows))
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        """Wait until everything is in the file.

        Raises:
            OSError: The file could not be written.
        """
        self.queue.put(None)
        self.thread.join()
        if self.error is not None:
            raise self.error

    def abandon(self) -> None:
        """Stop without finishing the file."""
        self.abandoned = True
        self.queue.put(None)
        self.thread.join()

    def _write(self, path: Path) -> None:
        try:
            tifffile.imwrite(
                path,
                self._tiles() if self.stack is None else self._tiles_of_planes(),
                shape=self.size,
                dtype=self.dtype,
                tile=(self.tile, self.tile),
                photometric="rgb" if len(self.size) == 3 and self.stack is None else "minisblack",
                compression="deflate",
                bigtiff=math.prod(self.size) * self.dtype.itemsize > 2**31,
                **(self.stack or {"metadata": None}),
            )
        except BaseException as error:  # raised again by `add` or `close`, in the thread of the caller
            self.error = error
            while not self.ended and self.queue.get() is not None:
                pass

    def _tiles(self) -> Iterator[Array]:
        strip = np.zeros((TILE, -(-self.size[1] // TILE) * TILE, *self.size[2:]), self.dtype)
        filled = 0
        while (rows := self.queue.get()) is not None:
            while len(rows):
                taken = rows[: TILE - filled]
                strip[filled : filled + len(taken), : self.size[1]] = taken
                filled, rows = filled + len(taken), rows[len(taken) :]
                if filled == TILE:
                    yield from self._cut(strip)
                    strip[:], filled = 0, 0
        self.ended = True
        if self.abandoned:
            raise RuntimeError("the rest of the image is missing")
        if filled:
            yield from self._cut(strip)

    def _tiles_of_planes(self) -> Iterator[Array]:
        height, width = (-(-length // self.tile) * self.tile for length in self.size[1:])
        padded = np.zeros((height, width), self.dtype)
        while (planes := self.queue.get()) is not None:
            for plane in planes:
                padded[: self.size[1], : self.size[2]] = plane
                for top in range(0, height, self.tile):
                    yield from self._cut(padded[top : top + self.tile])
        self.ended = True
        if self.abandoned:
            raise RuntimeError("the rest of the stack is missing")

    def _cut(self, strip: Array) -> Iterator[Array]:
        for left in range(0, strip.shape[1], self.tile):
            yield strip[:, left : left + self.tile].copy()


@contextmanager
def tiled_tiff(
    path: Path, size: tuple[int, ...], dtype: npt.DTypeLike, *, stack: dict[str, Any] | None = None
) -> Iterator[TiledWriter]:
    """Write a tiled TIFF file; an incomplete file is never left.

    Args:
        path: The file.
        size: Height and width, and 3 for RGB; as many rows are to be added. Of a stack: planes, height and width.
        dtype: Of the pixels.
        stack: Arguments of `tifffile.imwrite` for a stack; None for an image.

    Raises:
        DataError: It cannot be written.
    """
    with replacing(path) as temporary:
        writer = TiledWriter(temporary, size, dtype, stack)
        try:
            yield writer
        except BaseException:
            writer.abandon()
            raise
        writer.close()
