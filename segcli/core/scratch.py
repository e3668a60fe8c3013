"""Arrays on the disk that are worked on in parts, so that no memory holds the whole of them."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from types import EllipsisType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from segcli.core.files import told_when_full
from segcli.core.types import Array

__all__ = ["Scratch"]

Place = tuple[int | slice | EllipsisType, ...]


class Scratch:
    """Zeros in a temporary file that has no name and is gone when the process is.

    It is mapped anew for each look: pages of a mapped file count as memory of the process as long as it is mapped.

    Args:
        shape: Of the array.
        dtype: Of its values.
        folder: Where the file lies; the system's folder for temporary files when left out.
    """

    def __init__(self, shape: tuple[int, ...], dtype: npt.DTypeLike, folder: Path | None = None) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        with told_when_full(folder or Path(tempfile.gettempdir())):
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
            self._file: Any = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by `close`
            size = max(int(np.prod(shape, dtype=np.int64)) * self.dtype.itemsize, 1)
            try:
                if hasattr(os, "posix_fallocate"):  # a mapped file that finds the disk full kills the process
                    os.posix_fallocate(self._file.fileno(), 0, size)
                else:
                    self._file.truncate(size)
            except OSError:
                self.close()
                raise

    def mapped(self, mode: Literal["r", "r+"] = "r") -> Array:
        """All of it, to be let go soon."""
        return np.memmap(self._file, self.dtype, mode, shape=self.shape)

    def read(self, place: Place) -> Array:
        """A copy of a part."""
        return np.array(self.mapped()[place])

    def write(self, place: Place, values: Array | float) -> None:
        """Set a part."""
        self.mapped("r+")[place] = values

    def add(self, place: Place, values: Array) -> None:
        """Add to a part."""
        self.mapped("r+")[place] += values

    def close(self) -> None:
        """Let go of the room on the disk."""
        with suppress(OSError):
            self._file.close()
