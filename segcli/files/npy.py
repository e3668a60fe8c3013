"""NumPy arrays in `.npy` files: `(*S)`, with channels first, or last if there are at most four."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segcli.core.errors import DataError
from segcli.core.files import replacing
from segcli.core.types import Array
from segcli.files import Add, FileFormat, Picture, Window
from segcli.files._axes import as_channels_last, axes_of

__all__ = ["NPY"]


class NPY(FileFormat):
    """Reads and writes images and volumes of plain numbers; files of Python objects are refused."""

    endings = (".npy",)
    listed = ()
    axes = (2, 3)

    @classmethod
    def open(cls, path: Path, ndim: int, index: int | None = None) -> Picture:
        """Read the header."""
        return _Numbers(path, "zyx"[-ndim:])

    @classmethod
    @contextmanager
    def create(
        cls, path: Path, size: tuple[int, ...], dtype: npt.DTypeLike, *, like: Picture | None = None, channels: int = 0
    ) -> Iterator[Add]:
        """Write planes as they arrive, channels first."""
        with replacing(path) as temporary:
            np.lib.format.open_memmap(temporary, "w+", np.dtype(dtype), (channels, *size) if channels else size)
            done = 0

            def add(planes: Array) -> None:
                nonlocal done
                rows = slice(done, done + len(planes))
                mapped = np.lib.format.open_memmap(temporary, "r+")
                if channels:
                    mapped[:, rows] = np.moveaxis(planes, -1, 0)
                else:
                    mapped[rows] = planes
                done = rows.stop

            yield add


class _Numbers(Picture):
    """Reads an array; each window maps the file again."""

    def __init__(self, path: Path, spatial: str) -> None:
        self.path, self.spatial = path, spatial
        array = self._mapped()
        self.axes = axes_of(array.shape, spatial)
        lengths = dict(zip(self.axes, array.shape, strict=False))
        misfits = set(self.axes) - set(f"{spatial}c") or not set(spatial) <= set(self.axes)
        if misfits or len(self.axes) != array.ndim or 0 in array.shape:
            what = "one 2D image" if spatial == "yx" else "one volume"
            raise DataError(
                f"`{path}` holds an array of shape {tuple(array.shape)}, but {what} was expected",
                hint="split it into one array per image",
            )
        self.size = tuple(lengths[axis] for axis in spatial)
        self.channels = lengths.get("c", 1)
        self.itemsize, self.bilevel = array.dtype.itemsize, array.dtype == bool

    def _mapped(self) -> Array:
        try:
            mapped = np.lib.format.open_memmap(self.path, mode="r")
        except ValueError as error:
            if "mmap length" not in str(error):
                raise
            raise DataError(
                f"`{self.path}` is truncated: it ends before its data", hint="copy the file again"
            ) from None
        more = self.path.stat().st_size - mapped.offset - mapped.nbytes
        if more > 0:
            raise DataError(
                f"`{self.path}` holds {more:,} more bytes after its array, such as a second array",
                hint="write each array into a file of its own",
            )
        return mapped

    @property
    def is_large(self) -> bool:
        """Tell whether the image is large."""
        return self.has_many_pixels

    def whole(self) -> Array:
        return self.part(tuple(slice(0, length) for length in self.size))

    def part(self, window: Window) -> Array:
        places = {**dict(zip(self.spatial, window, strict=True)), "c": slice(None)}
        part = np.array(self._mapped()[tuple(places[axis] for axis in self.axes)])
        part = part.astype(part.dtype.newbyteorder("="), copy=False)
        return np.ascontiguousarray(as_channels_last(part, self.axes, self.spatial))
