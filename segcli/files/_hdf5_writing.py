"""Writing of HDF5 files on a disk that may be full."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

__all__ = ["writing"]


@contextmanager
def writing(path: Path) -> Iterator[h5py.File]:
    """Open a new file or a begun one, to write to it; remove it if that fails.

    Raises:
        OSError: The disk is full, or cannot be written to.
    """
    begun = path.exists()
    with _Disk(path, "r+b" if begun else "w+b") as disk:
        try:
            with h5py.File(disk, "r+" if begun else "w") as file:
                yield file
        except Exception:  # HDF5 reads back what it could not write, and fails in many ways
            if disk.fault is None:
                raise
    if disk.fault is not None:
        path.unlink(missing_ok=True)  # it is closed; Windows does not remove an open file
        raise disk.fault


class _Disk(io.FileIO):
    """A file that keeps the first error of a write, and passes over all writes after it.

    HDF5 also writes when it closes a file. If that fails, the file stays open, and the process may crash when it ends.
    """

    def __init__(self, path: Path, mode: str) -> None:
        super().__init__(path, mode)
        self.fault: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all bytes, or keep the error."""
        view = memoryview(data).cast("B")
        done = 0
        try:
            while self.fault is None and done < len(view):
                done += super().write(view[done:]) or 0
        except OSError as error:
            self.fault = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Change the size, or keep the error."""
        try:
            return super().truncate(size) if self.fault is None else self.tell()
        except OSError as error:
            self.fault = error
            return self.tell()
