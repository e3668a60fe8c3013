"""HDF5 files of many volumes: `images [N, *S]` or `[N, C, *S]`, read in parts."""

import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from segcli.core.errors import DataError
from segcli.core.names import printable, safe_name
from segcli.core.types import Array
from segcli.files import HINT, KEPT, LARGE, Add, FileFormat, Picture, Window, reading
from segcli.files._hdf5_content import never_written, numbers_in, strings_in, unwritten
from segcli.files._hdf5_writing import writing

__all__ = ["HDF5"]

CHUNK = 64
"""Voxels along each axis of a chunk of a large volume."""


class HDF5(FileFormat):
    """Reads an HDF5 file of many volumes.

    A loader worker opens the file once and keeps it open. Any other process opens the file for each read: an open file
    would be shared with forked children, which HDF5 does not support. Open files are not pickled, so that workers can
    also be spawned.
    """

    endings = (".h5", ".hdf5")
    axes = (3,)
    holds_many = True
    writes = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: tuple[int, h5py.File] | None = None
        self._access: Any = None
        """Way in which h5py opens the file, kept from the first time."""

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_kept": None, "_access": None}

    @contextmanager
    def reading(self) -> Iterator[h5py.File]:
        """Open the file, or return the open one.

        Raises:
            DataError: The file is missing, damaged, truncated or not HDF5, or reading fails.
        """
        with _reading(self.path):
            if not _in_worker():
                with h5py.File(self.path, "r", locking=False) as file:
                    yield file
                return
            if self._kept is None or self._kept[0] != os.getpid():
                self._kept = (os.getpid(), h5py.File(self.path, "r", locking=False))
            yield self._kept[1]

    def rows(self, names: Sequence[str], index: int) -> list[Array]:
        """Read one row of each of these datasets, without the objects of h5py for files and groups, which take time.

        Raises:
            DataError: As in `reading`.
        """
        if self._access is None or _in_worker():
            with self.reading() as file:
                self._access = file.id.get_access_plist()
                return [_row(file.id, self.path, name, index) for name in names]
        with _reading(self.path):
            file = h5py.h5f.open(os.fsencode(self.path), h5py.h5f.ACC_RDONLY, fapl=self._access)
            try:
                return [_row(file, self.path, name, index) for name in names]
            finally:
                file.close()

    @classmethod
    def members(cls, path: Path) -> list[str]:
        """Name the volumes of a file."""
        with cls(path).reading() as file:
            return cls.names_in(file, len(_images(path, file)))

    @staticmethod
    def names_in(file: h5py.File, count: int) -> list[str]:
        """Name the volumes of an open file: by its `case_ids` if they are valid file names, otherwise by numbers."""
        return _names_and_fault(file, count)[0]

    @staticmethod
    def fault_of_names(file: h5py.File, count: int) -> str | None:
        """Tell why `case_ids` of an open file do not name its volumes; None if they do, or if there are none."""
        return _names_and_fault(file, count)[1]

    @classmethod
    def open(cls, path: Path, ndim: int, index: int | None = None) -> Picture:
        """Open one volume of the file; default: the first."""
        with _reading(path):
            return _Volume(path, index or 0)

    @staticmethod
    @contextmanager
    def appending(part: Path, source: Path, index: int, size: tuple[int, ...], count: int) -> Iterator[Add]:
        """Add the masks of one volume, plane by plane, to a file of predictions; if the volume fails, add nothing.

        Args:
            part: File of predictions.
            source: File of the volumes.
            index: Position of the volume.
            size: Size of the volume.
            count: Masks of each volume.

        Raises:
            OSError: The file cannot be written; it is removed.
        """
        with HDF5(source).reading() as volumes:
            cases = len(_images(source, volumes))
            names = HDF5.names_in(volumes, cases)
        part.parent.mkdir(parents=True, exist_ok=True)
        most = CHUNK if np.prod(size, dtype=np.int64) >= LARGE else max(size)
        with writing(part) as file:
            if not file.has("masks"):
                chunks = (1, 1, *(min(length, most) for length in size))
                file.create("masks", (cases, count, *size), np.uint8, chunks=chunks, compression="gzip")
                file.create("presence_labels", (cases, count), np.uint8)
                file.add("case_ids", names)
            done = 0
            present = np.zeros(count, bool)

            def add(answer: Array) -> None:
                nonlocal done
                masks = answer[..., None] if answer.ndim == 3 else answer
                rows = slice(done, done + len(masks))
                file.put("masks", (index, slice(None), rows), np.moveaxis(masks, -1, 0))
                present[:] |= masks.reshape(-1, count).any(0)
                done = rows.stop

            try:
                yield add
                file.put("presence_labels", index, present)
            except BaseException:
                with suppress(OSError):  # told in the end, unless a signal stops the work
                    for number in range(count):
                        file.put("masks", (index, number), 0)
                raise


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn errors of HDF5 for damaged files into clear messages."""
    with reading(path, "", hint="copy the file again"):
        try:
            yield
        except OSError as error:
            if "truncated" in str(error):
                raise DataError(f"`{path}` is truncated: it ends before its data", hint="copy the file again") from None
            if "already open for write" in str(error):
                raise DataError(
                    f"`{path}` is marked as being written: its writer is still at work, or was stopped",
                    hint="wait for its writer, or write it again; `h5clear -s` of HDF5 removes the mark",
                ) from None
            if "signature not found" in str(error):
                raise DataError(f"`{path}` is not an HDF5 file", hint=HINT) from None
            raise


def _row(file: Any, path: Path, name: str, index: int) -> Array:
    """Read a row of a dataset of an open file."""
    stored = h5py.h5d.open(file, name.encode())
    space = stored.get_space()
    count = (1, *space.shape[1:])
    space.select_hyperslab((index, *(0 for _ in count[1:])), count)
    row: Array = np.empty(count[1:], stored.dtype)
    try:
        stored.read(h5py.h5s.create_simple(count), space, row)
    except OSError as error:
        message = f"cannot read `{name}` of `{path}[{index}]` ({' '.join(str(error).split())[:120]})"
        raise DataError(message, hint="copy the file again, or write this case anew") from error
    return row


def _in_worker() -> bool:
    """Tell whether this process is a loader worker of PyTorch, which does not fork."""
    loading = sys.modules.get("torch.utils.data")
    return loading is not None and loading.get_worker_info() is not None


def _names_and_fault(file: h5py.File, count: int) -> tuple[list[str], str | None]:
    path, numbers = Path(file.filename), [f"{index:04d}" for index in range(count)]
    try:
        names = strings_in(file, path, "case_ids", count)
    except DataError as error:
        return numbers, error.message
    if names is None:
        return numbers, None
    seen: set[str] = set()
    for name in names:
        if name != safe_name(name):
            return numbers, f"`case_ids` of `{path}`: `{printable(name)}` cannot be the name of a file"
        if name in seen:
            return numbers, f"`case_ids` of `{path}`: `{name}` is there twice"
        seen.add(name)
    return names, None


def _images(path: Path, file: h5py.File) -> Any:
    images = numbers_in(file, path, "images")
    if images is None:
        raise DataError(f"`{path}` has no dataset `images`; it has {', '.join(file) or 'none'}")
    if len(images.shape) not in (4, 5):
        sizes = "x".join(map(str, images.shape)) or "a single value"
        raise DataError(f"`images` of `{path}` are {sizes}", hint="they must have 4 axes, or 5 with channels")
    return images


class _Volume(Picture):
    """Reads one volume of the file, `images[index]` of shape `(*S)` or `(C, *S)`."""

    def __init__(self, path: Path, index: int) -> None:
        self.path, self.index = Path(f"{path}[{index}]"), index  # as `Case.place` names it
        # cache chunks, because windows overlap
        self.file = h5py.File(path, "r", locking=False, rdcc_nbytes=2 * KEPT, rdcc_nslots=10007)
        try:
            self.data = _images(path, self.file)
            share = float(unwritten(self.data)[index])
            if share:
                raise never_written("images", str(self.path), share)
            self.has_channels = len(self.data.shape) == 5
            self.size = tuple(map(int, self.data.shape[-3:]))
            self.channels = int(self.data.shape[1]) if self.has_channels else 1
            self.itemsize = self.data.dtype.itemsize
            self.at_once = math.prod(self.data.chunks or ()) * self.itemsize
        except BaseException:
            self.file.close()
            raise

    @property
    def is_large(self) -> bool:
        """Tell whether the volume is large."""
        return self.has_many_pixels

    def whole(self) -> Array:
        return self.part(tuple(slice(0, length) for length in self.size))

    def part(self, window: Window) -> Array:
        if self.has_channels:
            return np.ascontiguousarray(np.moveaxis(self.data[(self.index, slice(None), *window)], 0, -1))
        part: Array = self.data[(self.index, *window)][..., None]
        return part

    def close(self) -> None:
        self.file.close()
