"""Arrays on the disk that are read and written in parts, so that they never fill the memory."""

import tempfile
from contextlib import suppress
from pathlib import Path
from types import EllipsisType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from segcli.core.files import told_when_full
from segcli.core.platform import reserve
from segcli.core.types import Array

__all__ = ["Scratch"]

Place = tuple[int | slice | EllipsisType, ...]


class Scratch:
    """Array of zeros in a nameless temporary file, which disappears with the process.

    The file is memory-mapped anew for each access, because mapped pages count as memory of the process.

    Args:
        shape: Shape of the array.
        dtype: Data type of the values.
        folder: Folder of the file; the system's folder for temporary files when left out.
    """

    def __init__(self, shape: tuple[int, ...], dtype: npt.DTypeLike, folder: Path | None = None) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        with told_when_full(folder or Path(tempfile.gettempdir())):
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
            self._file: Any = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by `close`
            size = max(int(np.prod(shape, dtype=np.int64)) * self.dtype.itemsize, 1)
            try:
                reserve(self._file, size)
            except OSError:
                self.close()
                raise

    def mapped(self, mode: Literal["r", "r+"] = "r") -> Array:
        """Map the whole array; the caller should release it soon."""
        return np.memmap(self._file, self.dtype, mode, shape=self.shape)

    def read(self, place: Place) -> Array:
        """Return a copy of a part."""
        return np.array(self.mapped()[place])

    def write(self, place: Place, values: Array | float) -> None:
        """Set the values of a part."""
        self.mapped("r+")[place] = values

    def add(self, place: Place, values: Array) -> None:
        """Add values to a part."""
        self.mapped("r+")[place] += values

    def close(self) -> None:
        """Free the space on the disk."""
        with suppress(OSError):
            self._file.close()
