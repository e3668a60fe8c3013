"""Writing of HDF5 files on a disk that may be full, by a process that may be stopped."""

import io
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import h5py

from segcli.core.platform import STOPPING

__all__ = ["Writer", "writing"]


@contextmanager
def writing(path: Path) -> Iterator["Writer"]:
    """Open a new file or a begun one, to write to it; remove it if that fails.

    Raises:
        OSError: The disk is full, or cannot be written to.
        MemoryError: The memory is exhausted.
    """
    begun = path.exists()
    disk = _Disk(path, "r+b" if begun else "w+b")
    try:
        with disk:
            file: h5py.File | None = None
            try:
                with _uninterrupted():
                    file = h5py.File(disk, "r+" if begun else "w")
                yield Writer(file, disk)
            finally:
                if file is not None:
                    with _uninterrupted():
                        file.close()
    except Exception:
        if disk.fault is None:
            raise
    finally:
        if disk.fault is not None:
            path.unlink(missing_ok=True)  # it is closed; Windows does not remove an open file
    if disk.fault is not None:
        raise disk.fault


class Writer:
    """Puts datasets into an open HDF5 file.

    A signal waits until HDF5 has returned, and what cannot be written is raised after that: an error inside of HDF5
    would end the process with a segmentation fault.
    """

    def __init__(self, file: h5py.File, disk: "_Disk") -> None:
        self._file, self._disk = file, disk

    def has(self, name: str) -> bool:
        """Tell whether the file has a dataset."""
        with self._working():
            return name in self._file

    def create(self, name: str, *shape_and_dtype: Any, **options: Any) -> None:
        """Create an empty dataset; arguments as those of h5py's `create_dataset`."""
        with self._working():
            self._file.create_dataset(name, *shape_and_dtype, **options)

    def add(self, name: str, values: Any) -> None:
        """Create a dataset that holds these values."""
        with self._working():
            self._file[name] = values

    def put(self, name: str, where: Any, values: Any) -> None:
        """Write values into a part of a dataset."""
        with self._working():
            self._file[name][where] = values  # the dataset is closed in here too, which may write

    @contextmanager
    def _working(self) -> Iterator[None]:
        if self._disk.fault is None:
            with _uninterrupted():
                yield
        if self._disk.fault is not None:
            raise self._disk.fault


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let signals wait whose handlers may raise; only the main thread runs handlers."""
    waiting: list[int] = []
    before: dict[int, Any] = {}
    works = True
    if threading.current_thread() is threading.main_thread():
        before = {signum: handler for signum in STOPPING if callable(handler := signal.getsignal(signum))}

    def wait(signum: int, frame: FrameType | None) -> None:
        if works:
            waiting.append(signum)
        else:  # another signal broke off before the handler was put back
            before[signum](signum, frame)

    try:
        for signum in before:
            signal.signal(signum, wait)
        yield
    finally:
        works = False
        for signum, handler in before.items():
            signal.signal(signum, handler)
        for signum in waiting:
            signal.raise_signal(signum)


class _Disk(io.FileIO):
    """A file that keeps the first error, and gives back what it could not write.

    HDF5 also writes when it closes a file, and reads what it wrote before; from memory that was never filled, it takes
    places and sizes. If it cannot close a file, h5py tries again when the garbage collector finds that file, perhaps
    after this one is closed. If a method raises an error, the process ends with a segmentation fault.
    """

    def __init__(self, path: Path, mode: str) -> None:
        super().__init__(path, mode)
        self.fault: Exception | None = None
        self._place = 0
        self._unwritten: list[tuple[int, bytes]] = []

    def tell(self) -> int:
        """Return the position."""
        return self._place

    def seek(self, offset: int, whence: int = 0) -> int:
        """Change the position; only a write or a read asks the system for it."""
        self._place = offset
        if whence == io.SEEK_END:
            end = 0
            with self._kept():
                end = super().seek(0, io.SEEK_END)
            self._place += max([end, *(place + len(data) for place, data in self._unwritten)])
        return self._place

    def write(self, data: Any) -> int:
        """Write all bytes, or keep the error, and the bytes in memory."""
        view, done = memoryview(data).cast("B"), 0
        if self.fault is None:
            with self._kept():
                super().seek(self._place)
                while done < len(view):
                    done += super().write(view[done:]) or 0
        if done < len(view):
            with self._kept():
                self._unwritten.append((self._place + done, bytes(view[done:])))
        self._place += len(view)
        return len(view)

    def readinto(self, buffer: Any) -> int:
        """Read the file with what it could not take; zeros where nothing was written."""
        view, start, done = memoryview(buffer).cast("B"), self._place, 0
        with self._kept():
            super().seek(start)
            while done < len(view) and (got := super().readinto(view[done:])):
                done += got
        with self._kept():
            view[done:] = bytes(len(view) - done)
        for place, data in self._unwritten:
            first, end = max(place, start), min(place + len(data), start + len(view))
            if first < end:
                view[first - start : end - start] = data[first - place : end - place]
        self._place += len(view)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Change the size, or keep the error."""
        if self.fault is None:
            with self._kept():
                super().truncate(size)
        return self._place if size is None else size

    def flush(self) -> None:
        """Do nothing: no bytes wait in this process."""

    def close(self) -> None:
        """Close the file, or keep the error: some disks tell only then that they are full."""
        with self._kept():
            super().close()

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """Keep the first error, without its frames, which would hold memory of HDF5."""
        try:
            yield
        except (OSError, MemoryError) as error:
            self.fault = self.fault or error.with_traceback(None)
        except (ValueError, OverflowError) as error:  # the file is closed, or no file has such a place
            self.fault = self.fault or OSError(str(error))
