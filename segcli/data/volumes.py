"""Reading and writing volumes: HDF5 files of many, NIfTI files, TIFF stacks and DICOM series of one."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import tifffile

from segcli.core.errors import ConfigError, DataError
from segcli.core.files import replacing
from segcli.core.types import Array
from segcli.data.dicom import DICOMSeries, is_dicom

__all__ = [
    "HDF5",
    "NIFTI",
    "TIFF",
    "Grid",
    "HDF5File",
    "Volume",
    "grid_of",
    "grid_of_image",
    "load_nifti",
    "read_volume",
    "reading",
    "scaling_of",
    "suffix_of",
    "tiff_tags",
    "volume_header",
    "volume_spacing",
    "write_volume",
]

HDF5 = (".h5", ".hdf5")
NIFTI = (".nii.gz", ".nii")
TIFF = (".tif", ".tiff")
MEND = "replace the file, or take it out of the data set"
VOXELS = np.eye(4)


def suffix_of(path: Path) -> str:
    """Extension that tells the format, in small letters; `.nii.gz` is one.

    Example:
        >>> suffix_of(Path("case_01.NII.gz"))
        '.nii.gz'
    """
    name = path.name.lower()
    return next((suffix for suffix in (*NIFTI, *HDF5, *TIFF) if name.endswith(suffix)), path.suffix.lower())


class HDF5File:
    """One HDF5 file of many volumes, read a piece at a time.

    A loader worker opens the file once and keeps it. Any other process opens it for each look: a handle that a process
    holds while it forks would be shared with its children, which HDF5 does not survive. Nothing open is pickled, so
    that workers may be spawned as well.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: tuple[int, h5py.File] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_kept": None}

    @contextmanager
    def open(self) -> Iterator[h5py.File]:
        """The open file.

        Raises:
            DataError: It is missing, damaged, cut off, or no HDF5 file; or reading in it fails.
        """
        with self._blamed():
            if not _in_worker():
                with h5py.File(self.path, "r", locking=False) as file:
                    yield file
                return
            if self._kept is None or self._kept[0] != os.getpid():
                self._kept = (os.getpid(), h5py.File(self.path, "r", locking=False))
            yield self._kept[1]

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise DataError(f"no file `{self.path}`") from None
        except PermissionError:
            raise DataError(f"no permission to read `{self.path}`") from None
        except (OSError, RuntimeError) as error:
            detail = " ".join(str(error).split())
            if "truncated" in detail:
                raise DataError(
                    f"`{self.path}` is cut off: it ends before its data", hint="copy the file anew"
                ) from None
            if "signature not found" in detail:
                raise DataError(f"`{self.path}` is no HDF5 file", hint=MEND) from None
            raise DataError(f"cannot read `{self.path}` ({detail[:120]})", hint="copy the file anew") from error


def _in_worker() -> bool:
    """Whether this process is a loader worker of PyTorch, which does not fork."""
    loading = sys.modules.get("torch.utils.data")
    return loading is not None and loading.get_worker_info() is not None


@dataclass(frozen=True)
class Volume:
    """An image or a label map with its place in the world."""

    voxels: Array
    """`(*S, C)`; of NIfTI the axes from left, posterior and inferior on, of TIFF planes, rows and columns."""
    spacing: tuple[float, ...] | None
    """Millimetres between voxels along each axis; None where the file does not tell."""


def read_volume(path: Path) -> Volume:
    """A NIfTI file or a TIFF stack.

    Raises:
        DataError: It is missing, damaged, or holds no volume.
        ConfigError: The package that reads it is not installed.
    """
    if suffix_of(path) in NIFTI:
        return _read_nifti(path)
    if suffix_of(path) in TIFF:
        return _read_tiff(path)
    raise DataError(
        f"`{path}` is no volume", hint=f"volumes end in {', '.join((*NIFTI, *TIFF, *HDF5))}; 2D images need a 2D model"
    )


def volume_header(path: Path) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Spatial size and spacing in millimetres of a NIfTI file, in the order of `read_volume`, without its voxels.

    Raises:
        DataError: It is missing, damaged, or holds no volume.
    """
    grid = grid_of(path)
    return grid.size, grid.spacing


def volume_spacing(path: Path) -> tuple[float, ...] | None:
    """Millimetres between the voxels of a volume; None where its file does not tell.

    Raises:
        DataError: It is missing or damaged.
    """
    if suffix_of(path) in NIFTI or is_dicom(path):
        return grid_of(path).spacing
    if suffix_of(path) not in TIFF:
        return None
    with reading(path), tifffile.TiffFile(path) as tiff:
        return _tiff_spacing(tiff)


def write_volume(path: Path, voxels: Array, like: Path | None) -> None:
    """Write a volume `(*S)` or `(*S, C)`, in the format of `path` and in the geometry of the file `like`.

    Raises:
        DataError: It cannot be written.
    """
    spacing = None if like is None or suffix_of(path) in NIFTI else volume_spacing(like)
    with replacing(path) as temporary:
        if suffix_of(path) in TIFF:
            planes = voxels if voxels.ndim == 3 else np.moveaxis(voxels, -1, 1)
            with temporary.open("wb") as stream:
                tifffile.imwrite(stream, planes, compression="zlib", **tiff_tags(spacing, planes.ndim))
            return
        nibabel = _nibabel()
        grid = Grid(VOXELS, voxels.shape[:3], (1.0, 1.0, 1.0)) if like is None else grid_of(like)
        # the name tells nibabel whether to compress
        named = temporary.with_name(f"{temporary.name}{suffix_of(path)}")
        nibabel.save(nibabel.Nifti1Image(grid.as_stored(voxels), None, grid.header(voxels.dtype)), named)
        named.replace(temporary)


# ---- geometry


@dataclass(frozen=True)
class Grid:
    """Voxels as a file holds them, and their place in the world.

    `size`, `spacing` and windows are in one order of axes: from left, posterior and inferior on.
    """

    affine: Array
    """From the stored number of a voxel along each axis to millimetres."""
    stored: tuple[int, ...]
    """Voxels along each stored axis."""
    steps_mm: tuple[float, ...]
    """Between voxels along each stored axis."""
    codes: tuple[int, int] = (1, 1)
    """What the affine is by NIfTI: `sform_code` and `qform_code`."""

    @cached_property
    def axes(self) -> list[int]:
        """Axis of ours that each stored axis is."""
        return [int(axis) for axis, _ in self._turns]

    @cached_property
    def flips(self) -> tuple[int, ...]:
        """Stored axes that run the other way."""
        return tuple(axis for axis, (_, way) in enumerate(self._turns) if way < 0)

    @cached_property
    def _turns(self) -> Array:
        turns: Array = _nibabel().io_orientation(self.affine)
        return turns

    @property
    def size(self) -> tuple[int, ...]:
        """Voxels along each axis."""
        return tuple(self.stored[self.axes.index(axis)] for axis in range(3))

    @property
    def spacing(self) -> tuple[float, ...]:
        """Millimetres between voxels along each axis."""
        return tuple(self.steps_mm[self.axes.index(axis)] for axis in range(3))

    def window(self, window: tuple[slice, ...]) -> tuple[slice, ...]:
        """The same window along the stored axes."""
        found = []
        for axis, length in enumerate(self.stored):
            part = window[self.axes[axis]]
            found.append(slice(length - part.stop, length - part.start) if axis in self.flips else part)
        return tuple(found)

    def as_read(self, part: Array) -> Array:
        """Stored voxels `(*S)` or `(*S, C)` in our order of axes."""
        turned = np.flip(part, self.flips)
        return turned.transpose([*(self.axes.index(axis) for axis in range(3)), *range(3, part.ndim)])

    def as_stored(self, part: Array) -> Array:
        """The way back."""
        return np.flip(part.transpose([*self.axes, *range(3, part.ndim)]), self.flips)

    def header(self, dtype: npt.DTypeLike, channels: int = 1) -> Any:
        """Header of a NIfTI file with this geometry."""
        header = _nibabel().Nifti1Header()
        header.set_data_dtype(dtype)
        header.set_data_shape(self.stored if channels == 1 else (*self.stored, channels))
        header.set_xyzt_units("mm")
        header.set_qform(self.affine, code=self.codes[1])
        header.set_sform(self.affine, code=self.codes[0])
        return header


def grid_of(path: Path) -> Grid:
    """Geometry of a NIfTI file or of a DICOM series.

    Raises:
        DataError: It is missing, damaged, or holds no volume.
    """
    if is_dicom(path):
        series = DICOMSeries(path)
        return Grid(series.affine, series.shape, series.steps_mm)
    with reading(path):
        return grid_of_image(load_nifti(path))


def grid_of_image(image: Any) -> Grid:
    """Geometry of what nibabel opened."""
    codes = [int(image.header[name]) or 1 if name in image.header else 1 for name in ("sform_code", "qform_code")]
    steps = tuple(float(value) for value in image.header.get_zooms()[:3])
    return Grid(image.affine, tuple(map(int, image.shape[:3])), steps, (codes[0], codes[1]))


# ---- NIfTI


def _nibabel() -> Any:
    try:
        import nibabel  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise ConfigError("NIfTI files need the package `nibabel`", hint="`pip install 'segcli[medical]'`") from error
    return nibabel


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Tell in one sentence that a volume cannot be read.

    Raises:
        DataError: It cannot.
    """
    try:
        yield
    except (DataError, ConfigError, MemoryError):
        raise
    except FileNotFoundError:
        raise DataError(f"no file `{path}`") from None
    except Exception as error:
        detail = " ".join(str(error).split())[:120] or type(error).__name__
        raise DataError(f"cannot read volume `{path}` ({detail})", hint=MEND) from error


def load_nifti(path: Path) -> Any:
    """The file as nibabel opens it, whose voxels are not read yet.

    Raises:
        DataError: It holds no volume.
        ConfigError: nibabel is not installed.
    """
    if not path.is_file():
        raise FileNotFoundError(path)
    image = _nibabel().load(path)
    if image.ndim not in (3, 4):
        raise DataError(f"`{path}` has {image.ndim} axes, a volume has 3 (or 4 with channels)", hint=MEND)
    return image


def scaling_of(image: Any) -> tuple[float, float] | None:
    """Slope and intercept from stored values to those that are meant; None where they are the same."""
    slope, intercept = (
        getattr(image.dataobj, key, None) or default for key, default in (("slope", 1.0), ("inter", 0.0))
    )
    return None if (slope, intercept) == (1.0, 0.0) else (float(slope), float(intercept))


def _read_nifti(path: Path) -> Volume:
    with reading(path):
        image = load_nifti(path)
        grid = grid_of_image(image)
        plain = scaling_of(image) is None
        stored = np.asarray(image.dataobj) if plain else np.asarray(image.dataobj, dtype=np.float32)
        voxels = grid.as_read(stored.astype(stored.dtype.newbyteorder("="), copy=False))
        return Volume(voxels if voxels.ndim == 4 else voxels[..., None], grid.spacing)


# ---- TIFF


def _read_tiff(path: Path) -> Volume:
    with reading(path):
        with tifffile.TiffFile(path) as tiff:
            series = tiff.series[0]
            axes, voxels = series.axes, series.asarray()
            spacing = _tiff_spacing(tiff)
        order = [letter for letter in axes if letter not in "YXCS"]
        if voxels.ndim == 3 and len(order) == 1:
            return Volume(voxels[..., None], spacing)
        colour = next((axes.index(letter) for letter in "CS" if letter in axes), None)
        if voxels.ndim == 4 and len(order) == 1 and colour is not None:
            return Volume(np.moveaxis(voxels, colour, -1), spacing)
        raise DataError(f"`{path}` of shape {tuple(voxels.shape)} is no stack of planes", hint=MEND)


def tiff_tags(spacing: tuple[float, ...] | None, ndim: int) -> dict[str, Any]:
    """What `tifffile` is told of a stack: its axes and, where it is known, the spacing in millimetres."""
    metadata: dict[str, Any] = {"axes": "ZYX" if ndim == 3 else "ZCYX"}
    if spacing is None:
        return {"metadata": metadata}
    resolution = (1.0 / spacing[2], 1.0 / spacing[1])
    return {"metadata": {**metadata, "spacing": spacing[0], "unit": "mm"}, "resolution": resolution}


def _tiff_spacing(tiff: tifffile.TiffFile) -> tuple[float, ...] | None:
    """As ImageJ and we ourselves write it, in millimetres."""
    shaped = tiff.shaped_metadata or ({},)
    told = tiff.imagej_metadata or shaped[0]
    scale = {"micron": 1e-3, "um": 1e-3, "\\u00B5m": 1e-3, "µm": 1e-3, "mm": 1.0}.get(str(told.get("unit", "")))
    tags = tiff.pages[0].tags  # type: ignore[union-attr]
    if scale is None or "spacing" not in told or "XResolution" not in tags or "YResolution" not in tags:
        return None
    across = [tags[name].value[1] / tags[name].value[0] for name in ("YResolution", "XResolution")]
    return tuple(float(value) * scale for value in (told["spacing"], *across))
