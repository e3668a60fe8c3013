"""NIfTI volumes, `.nii` or compressed `.nii.gz`; needs the extra `medical`.

Axes are read in one order: left to right, posterior to anterior, inferior to superior.
"""

import gzip
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from segcli.core.errors import DataError
from segcli.core.files import replacing
from segcli.core.scratch import Scratch
from segcli.core.types import Array
from segcli.files import Add, FileFormat, Picture, Window, ending_of
from segcli.files._gathered import Gathered
from segcli.files._grid import Grid, nibabel_module, unplaced
from segcli.files._mapped import Mapped, map_file

__all__ = ["NIfTI"]

BLOCK = 2**24
"""Bytes to unpack at once."""
AT_ONCE = 2**26
"""Bytes to write at once."""


class NIfTI(FileFormat):
    """Reads and writes medical volumes with their geometry."""

    endings = (".nii.gz", ".nii")
    axes = (3,)
    keeps_grid = True

    @classmethod
    def open(cls, path: Path, ndim: int, index: int | None = None) -> Picture:
        """Read the header."""
        return _Volume(path)

    @classmethod
    @contextmanager
    def create(
        cls, path: Path, size: tuple[int, ...], dtype: npt.DTypeLike, *, like: Picture | None = None, channels: int = 0
    ) -> Iterator[Add]:
        """Write a volume; planes are collected on the disk first, because any axis may be stored first."""
        grid = unplaced(size) if like is None or like.grid is None else like.grid
        with _writing(path, grid, np.dtype(dtype), channels) as add:
            yield add


class _Volume(Picture):
    """Reads a file that nibabel opened."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(path)
        self.path = path
        self.image = nibabel_module().load(path)
        if self.image.ndim not in (3, 4):
            raise DataError(
                f"`{path}` has {self.image.ndim} axes, but a volume has 3 (or 4 with channels)", hint=self.hint
            )
        self.grid: Grid = _grid_of(self.image)
        self.size, self.spacing = self.grid.size, self.grid.spacing
        self.channels = int(self.image.shape[3]) if self.image.ndim == 4 else 1
        self.itemsize = self.image.get_data_dtype().itemsize
        self._parts: Mapped | None = None
        self._unpacked: Scratch | None = None

    @property
    def is_large(self) -> bool:
        """Tell whether the volume is large."""
        return self.has_many_pixels

    def whole(self) -> Array:
        data = self.image.dataobj
        stored = np.asarray(data) if _scaling_of(self.image) is None else np.asarray(data, dtype=np.float32)
        voxels = self.grid.as_read(stored.astype(stored.dtype.newbyteorder("="), copy=False))
        return voxels if voxels.ndim == 4 else voxels[..., None]

    def part(self, window: Window) -> Array:
        self.unpack(None)
        assert self._parts is not None
        return self._parts.part(window)

    def unpack(self, scratch: Path | None) -> None:
        """Unpack `.nii.gz` to the disk; map `.nii` directly."""
        if self._parts is not None:
            return
        image, data, scaling = self.image, self.image.dataobj, _scaling_of(self.image)
        if ending_of(self.path) == ".nii":
            mapped = map_file(self.path, data.dtype, image.shape, data.offset, order="F")
        else:
            unpacked = self._unpacked = self._whole_on_disk(scratch)

            def mapped() -> Array:
                voxels: Array = unpacked.mapped().view(data.dtype).reshape(image.shape, order="F")
                return voxels

        self._parts = Mapped(mapped, self.grid, scaling=scaling)

    def _whole_on_disk(self, scratch: Path | None) -> Scratch:
        data = self.image.dataobj
        size = int(np.prod(self.image.shape, dtype=np.int64)) * data.dtype.itemsize
        unpacked = Scratch((size,), np.uint8, scratch)
        try:
            with gzip.open(self.path) as stream:
                stream.seek(data.offset)
                done = 0
                while block := stream.read(min(BLOCK, size - done)):
                    unpacked.write((slice(done, done + len(block)),), np.frombuffer(block, np.uint8))
                    done += len(block)
            if done < size:
                raise DataError(f"`{self.path}` is truncated: it ends before its data", hint="copy the file again")
        except BaseException:
            unpacked.close()
            raise
        return unpacked

    def close(self) -> None:
        if self._unpacked is not None:
            self._unpacked.close()


def _grid_of(image: Any) -> Grid:
    """Read the geometry of a nibabel image."""
    codes = [int(image.header[name]) or 1 if name in image.header else 1 for name in ("sform_code", "qform_code")]
    steps = tuple(float(value) for value in image.header.get_zooms()[:3])
    return Grid(image.affine, tuple(map(int, image.shape[:3])), steps, (codes[0], codes[1]))


def _scaling_of(image: Any) -> tuple[float, float] | None:
    """Read slope and intercept that rescale stored values; None if they change nothing."""
    slope, intercept = (
        getattr(image.dataobj, key, None) or default for key, default in (("slope", 1.0), ("inter", 0.0))
    )
    return None if (slope, intercept) == (1.0, 0.0) else (float(slope), float(intercept))


# ---- writing


def _header(grid: Grid, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> Any:
    """Make the header of a file with this geometry."""
    header = nibabel_module().Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header.set_xyzt_units("mm")
    header.set_qform(grid.affine, code=grid.codes[1])
    header.set_sform(grid.affine, code=grid.codes[0])
    return header


@contextmanager
def _writing(path: Path, grid: Grid, dtype: np.dtype[Any], channels: int) -> Iterator[Add]:
    shape = grid.stored if channels == 0 else (*grid.stored, channels)
    header = _header(grid, dtype, shape)
    header["vox_offset"] = len(header.binaryblock) + 4
    # the first axis varies fastest in NIfTI, so it is the last axis in C order
    with closing(Scratch(shape[::-1], dtype, path.parent)) as voxels:
        planes_bytes = int(np.prod(grid.stored[:2], dtype=np.int64)) * dtype.itemsize
        step = max(AT_ONCE // planes_bytes, 1)

        def write(first: int, planes: Array) -> None:
            window = grid.window((slice(first, first + len(planes)), *(slice(0, length) for length in grid.size[1:])))
            stored = grid.as_stored(planes)
            for start in range(window[2].start, window[2].stop, step):
                stop = min(start + step, window[2].stop)
                part = stored[:, :, start - window[2].start : stop - window[2].start]
                voxels.write((..., slice(start, stop), window[1], window[0]), part.T)

        bytes_of_plane = int(np.prod(grid.size[1:], dtype=np.int64)) * dtype.itemsize * max(channels, 1)
        gathered = Gathered(write, AT_ONCE // bytes_of_plane)
        yield gathered.add
        gathered.finish()
        with replacing(path) as temporary, _compressing(temporary, packs=ending_of(path) == ".nii.gz") as stream:
            stream.write(header.binaryblock + bytes(4))
            flat_rows = max(AT_ONCE // (int(np.prod(shape[::-1][1:], dtype=np.int64)) * dtype.itemsize), 1)
            for start in range(0, shape[::-1][0], flat_rows):
                stream.write(voxels.read((slice(start, start + flat_rows),)).tobytes())


@contextmanager
def _compressing(path: Path, *, packs: bool) -> Iterator[IO[bytes]]:
    if packs:
        with (
            path.open("wb") as plain,
            gzip.GzipFile("", "wb", 1, plain, 0) as stream,
        ):
            yield stream  # type: ignore[misc]
        return
    with path.open("wb") as stream:
        yield stream
