"""Rows of numbers that are added one by one and read in any order; beyond a few megabytes they lie on the disk."""

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segcli.core.files import told_when_full
from segcli.core.types import Array

__all__ = ["Spilled"]

IN_MEMORY = 2**18
"""Bytes of rows that stay in memory; with more of them, all go to a nameless file, which ends with the process."""
DENSE = 4
"""Rows are read as one part of the file if it holds at most this many times as many rows."""


class Spilled:
    """Rows of one shape and type. The file is read and not mapped: mapped pages count as memory of the process.

    Args:
        shape: Shape of a row.
        dtype: Type of its values.
    """

    def __init__(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self._size = int(np.prod(shape)) * self.dtype.itemsize
        self._count = 0
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - closed by `close`
        self._at_end = True
        self._place = Path(tempfile.gettempdir())

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._count

    def add(self, rows: Array) -> None:
        """Add a row, or several as `(N, *shape)`.

        Raises:
            DataError: The disk is full.
        """
        values = np.ascontiguousarray(rows, self.dtype)
        with told_when_full(self._place):
            if not self._at_end:
                self._file.seek(self._count * self._size)
            self._file.write(values.tobytes())
        self._at_end = True
        self._count += values.nbytes // self._size

    def part(self, start: int, stop: int) -> Array:
        """Read the rows from `start` to before `stop`, `(N, *shape)`."""
        with told_when_full(self._place):  # the last rows may be written only now
            self._file.seek(start * self._size)
            found = self._file.read((min(stop, self._count) - start) * self._size)
        self._at_end = False
        return np.frombuffer(found, self.dtype).reshape(-1, *self.shape)

    def rows(self, numbers: Sequence[int] | Array) -> Array:
        """Read rows by their numbers, `(N, *shape)`."""
        if len(numbers) == 0:
            return np.empty((0, *self.shape), self.dtype)
        first, last = int(min(numbers)), int(max(numbers))
        if last - first < DENSE * len(numbers):
            chosen: Array = self.part(first, last + 1)[np.asarray(numbers) - first]
            return chosen
        return np.concatenate([self.part(int(number), int(number) + 1) for number in numbers])

    def close(self) -> None:
        """Free memory and disk."""
        with suppress(OSError):
            self._file.close()
