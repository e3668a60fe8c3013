"""Pages of TIFF files that lie uncompressed in one piece: their place is remembered, and they are read at once.

Parsing the directories of a file takes many times as long as reading a small slice, in every epoch anew.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from segcli.core.types import Array

__all__ = ["PlainPages"]

MOST = 200_000
"""Pages that are remembered."""
Key = tuple[Path, int, bool]
"""File, number of the page, and whether its numbers are labels."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Locates the pixels of a page in a file that has not changed since."""

    changed: int
    size: int
    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def read(self, path: Path) -> Array | None:
        """Read the pixels in the byte order of this machine; None if the file has changed."""
        count = math.prod(self.shape)
        with path.open("rb", buffering=0) as stream:
            content = bytearray(count * self.dtype.itemsize)
            stream.seek(self.offset)
            if stream.readinto(content) != len(content):
                return None
        pixels = np.frombuffer(content, self.dtype).reshape(self.shape)
        return pixels.astype(self.dtype.newbyteorder("="), copy=False)


class PlainPages:
    """Remembers where pages lie whose stored pixels are what a reader gives."""

    def __init__(self) -> None:
        self.places: dict[Key, _Place] = {}

    def read(self, key: Key) -> Array | None:
        """Read a page whose place is known; None for any other."""
        place = self.places.get(key)
        if place is None:
            return None
        status = key[0].stat()
        is_same = (status.st_mtime_ns, status.st_size) == (place.changed, place.size)
        return place.read(key[0]) if is_same else None

    def remember(self, key: Key, page: tifffile.TiffPage, pixels: Array) -> None:
        """Remember a page if its bytes in the file are these pixels."""
        if (
            not page.is_memmappable
            or page.dtype is None
            or page.dtype.itemsize * pixels.size != sum(page.databytecounts)
        ):
            return
        status = key[0].stat()
        dtype = page.dtype.newbyteorder(page.parent.byteorder)
        place = _Place(status.st_mtime_ns, status.st_size, page.dataoffsets[0], dtype, pixels.shape)
        again = place.read(key[0])
        if again is not None and again.dtype == pixels.dtype and np.array_equal(again, pixels):
            if len(self.places) >= MOST:
                self.places.clear()
            self.places[key] = place
