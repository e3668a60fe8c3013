"""Parts of volumes that need not fit in memory: TIFF stacks, Zarr, HDF5, NIfTI and DICOM series.

What is packed as a whole (`.nii.gz`) or scattered over files (DICOM) is laid out on the disk first.
"""

import gzip
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import tifffile

from segcli.core.errors import DataError
from segcli.core.scratch import Scratch
from segcli.core.types import Array
from segcli.data.dicom import DICOMSeries, is_dicom
from segcli.data.volumes import (
    HDF5,
    NIFTI,
    TIFF,
    Grid,
    grid_of_image,
    load_nifti,
    reading,
    scaling_of,
    suffix_of,
)
from segcli.data.windows import KEPT, TiffPages, WindowedImage, ZarrArray, is_zarr

__all__ = ["is_folder", "open_volume"]

BLOCK = 2**24
"""Bytes that are unpacked at once."""


def is_folder(path: Path) -> bool:
    """Whether a folder is one volume: a Zarr array or group, or a DICOM series."""
    return is_zarr(path) or is_dicom(path)


def open_volume(
    path: Path, index: int | None = None, *, scratch: Path | None = None, least: int = 0
) -> WindowedImage | None:
    """A volume whose parts can be read; None for files that can, or shall, be read as a whole.

    Args:
        path: The file or folder.
        index: Position in an HDF5 file of many volumes.
        scratch: Folder for what is unpacked; the system's own when left out.
        least: Voxels from which on a file is read in parts; a folder always is.

    Raises:
        ConfigError: The package that reads it is not installed.
        DataError: It is missing, damaged, or holds no volume.
    """
    if is_zarr(path):
        return ZarrArray(path, "zyx")
    if is_dicom(path):
        return _unpacked_series(path, scratch)
    with reading(path):
        opened: WindowedImage | None = None
        if suffix_of(path) in HDF5 and index is not None:
            opened = _HDF5(path, index)
        elif suffix_of(path) in TIFF:
            opened = _tiff(path)
        elif suffix_of(path) in NIFTI and np.prod(load_nifti(path).shape[:3], dtype=np.int64) >= least:
            opened = _nifti(path, scratch)
    if opened is not None and np.prod(opened.size, dtype=np.int64) < least:
        opened.close()
        return None
    return opened


class _Mapped(WindowedImage):
    """Voxels that lie on the disk one after the other.

    They are mapped anew for each window: pages of a mapped file count as memory of the process as long as it is mapped.

    Args:
        path: Where they come from.
        mapped: Maps all of them as they are stored, `(*S)` or `(*S, C)`.
        grid: Their geometry; None where they are stored in our order of axes.
        scaling: Slope and intercept to what they mean.
        scratch: File that is let go in the end.
    """

    def __init__(
        self,
        path: Path,
        mapped: Callable[[], Array],
        grid: Grid | None = None,
        *,
        scaling: tuple[float, float] | None = None,
        scratch: Scratch | None = None,
    ) -> None:
        self.path, self.mapped, self.grid, self.scaling, self.scratch = path, mapped, grid, scaling, scratch
        shape = mapped().shape
        self.size = shape[:3] if grid is None else grid.size
        self.channels = shape[3] if len(shape) == 4 else 1

    def read(self, window: tuple[slice, ...]) -> Array:
        """Voxels of a window."""
        with reading(self.path):
            part = np.array(self.mapped()[window if self.grid is None else self.grid.window(window)])
        part = part.astype(part.dtype.newbyteorder("="), copy=False)
        if self.scaling is not None:
            part = (part * self.scaling[0] + self.scaling[1]).astype(np.float32)
        part = part if self.grid is None else self.grid.as_read(part)
        return np.ascontiguousarray(part if part.ndim == 4 else part[..., None])

    def close(self) -> None:
        """Let go of the file."""
        if self.scratch is not None:
            self.scratch.close()


def _nifti(path: Path, scratch: Path | None) -> WindowedImage:
    image = load_nifti(path)
    grid, scaling, data = grid_of_image(image), scaling_of(image), image.dataobj
    if suffix_of(path) == ".nii":
        return _Mapped(path, _file_of(path, data.dtype, image.shape, data.offset, order="F"), grid, scaling=scaling)
    size = int(np.prod(image.shape, dtype=np.int64)) * data.dtype.itemsize
    unpacked = Scratch((size,), np.uint8, scratch)
    try:
        with gzip.open(path) as stream:
            stream.seek(data.offset)
            done = 0
            while block := stream.read(min(BLOCK, size - done)):
                unpacked.write((slice(done, done + len(block)),), np.frombuffer(block, np.uint8))
                done += len(block)
        if done < size:
            raise DataError(f"`{path}` is cut off: it ends before its data", hint="copy the file anew")
    except BaseException:
        unpacked.close()
        raise

    def mapped() -> Array:
        voxels: Array = unpacked.mapped().view(data.dtype).reshape(image.shape, order="F")
        return voxels

    return _Mapped(path, mapped, grid, scaling=scaling, scratch=unpacked)


def _file_of(
    path: Path, dtype: npt.DTypeLike, shape: tuple[int, ...], offset: int, order: str = "C"
) -> Callable[[], Array]:
    def mapped() -> Array:
        return np.memmap(path, dtype, "r", offset, shape, order="F" if order == "F" else "C")

    return mapped


def _unpacked_series(folder: Path, scratch: Path | None) -> WindowedImage:
    series = DICOMSeries(folder)
    grid = Grid(series.affine, series.shape, series.steps_mm)
    unpacked = Scratch(series.shape[::-1], series.dtype, scratch)
    try:
        for number, plane in enumerate(series.planes()):
            unpacked.write((number,), plane)
    except BaseException:
        unpacked.close()
        raise
    return _Mapped(folder, lambda: unpacked.mapped().T, grid, scratch=unpacked)


def _tiff(path: Path) -> WindowedImage | None:
    file = tifffile.TiffFile(path)
    series = file.series[0]
    if series.dataoffset is not None and series.dtype is not None and _is_plain(series):
        dtype = series.dtype.newbyteorder(file.byteorder)
        file.close()
        return _Mapped(path, _file_of(path, dtype, series.shape, series.dataoffset))
    try:
        stack = _TiffPlanes(path, file)
    except (ValueError, KeyError, IndexError, AttributeError):
        file.close()
        return None
    if not stack.fits:
        stack.close()
        return None
    return stack


def _is_plain(series: tifffile.TiffPageSeries) -> bool:
    """Whether voxels lie in the file as they are read: planes of grey values, one after the other."""
    keyframe = series.keyframe
    planes = series.axes.replace("Y", "").replace("X", "")
    return (
        len(series.shape) == 3
        and len(planes) == 1
        and planes not in "CS"
        and series.axes.endswith("YX")
        and keyframe.compression == 1
        and keyframe.bitspersample in (8, 16, 32, 64)
    )


class _TiffPlanes(TiffPages):
    """Pages of one size, each a plane of a volume, or a channel of one."""

    def __init__(self, path: Path, file: tifffile.TiffFile) -> None:
        super().__init__(path, file)
        series = self.file.series[0].levels[0]
        order = "".join(letter for letter, length in zip(series.axes, series.shape, strict=True) if length > 1)
        leading = order.replace("Y", "").replace("X", "").replace("S", "")
        planes = [letter for letter in leading if letter != "C"]
        sizes = dict(zip(series.axes, series.shape, strict=True))
        self.fits = self.fits and len(planes) == 1 and order.endswith(("YX", "YXS"))
        self.depth = sizes.get(planes[0], 1) if planes else 1
        self.apart = sizes.get("C", 1) if "C" in leading else 1
        """Channels that have pages of their own."""
        self.first_channels = leading.startswith("C")
        self.fits = self.fits and len(self.pages) == self.depth * self.apart and (self.apart == 1 or self.channels == 1)
        self.size = (self.depth, *self.size)
        self.channels *= self.apart

    def read(self, window: tuple[slice, ...]) -> Array:
        """Voxels of a window, put together from tiles of pages."""
        planes, rest = window[0], window[1:]
        found = [
            [self.of_page(self._number(plane, channel), rest) for channel in range(self.apart)]
            for plane in range(planes.start, planes.stop)
        ]
        return np.stack([np.concatenate(channels, axis=-1) for channels in found])

    def _number(self, plane: int, channel: int) -> int:
        return channel * self.depth + plane if self.first_channels else plane * self.apart + channel


class _HDF5(WindowedImage):
    """One volume of a file of many, `images[index]` of `(*S)` or `(C, *S)`."""

    def __init__(self, path: Path, index: int) -> None:
        self.path, self.index = Path(f"{path}[{index}]"), index  # as `Case.place` names it
        # chunks that windows share are unpacked once
        self.file = h5py.File(path, "r", locking=False, rdcc_nbytes=2 * KEPT, rdcc_nslots=10007)
        if "images" not in self.file:
            raise DataError(f"`{path}` has no dataset `images`; it has {', '.join(self.file) or 'none'}")
        self.data = self.file["images"]
        self.has_channels = len(self.data.shape) == 5
        self.size = tuple(map(int, self.data.shape[-3:]))
        self.channels = int(self.data.shape[1]) if self.has_channels else 1

    def read(self, window: tuple[slice, ...]) -> Array:
        """Voxels of a window."""
        with reading(self.path):
            if self.has_channels:
                return np.ascontiguousarray(np.moveaxis(self.data[(self.index, slice(None), *window)], 0, -1))
            part: Array = self.data[(self.index, *window)][..., None]
            return part

    def close(self) -> None:
        """Let go of the file."""
        self.file.close()
