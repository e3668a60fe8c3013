"""Reading and writing volumes: HDF5 files of many, NIfTI files and TIFF stacks of one."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile

from segcli.core.errors import ConfigError, DataError
from segcli.core.files import replacing
from segcli.core.types import Array

__all__ = [
    "HDF5",
    "NIFTI",
    "TIFF",
    "HDF5File",
    "Volume",
    "read_volume",
    "suffix_of",
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
    with _reading(path):
        image = _canonical(path)
        return tuple(map(int, image.shape[:3])), _zooms(image)


def volume_spacing(path: Path) -> tuple[float, ...] | None:
    """Millimetres between the voxels of a NIfTI file or TIFF stack; None where it does not tell.

    Raises:
        DataError: It is missing or damaged.
    """
    if suffix_of(path) in NIFTI:
        return volume_header(path)[1]
    with _reading(path), tifffile.TiffFile(path) as tiff:
        return _tiff_spacing(tiff)


def write_volume(path: Path, voxels: Array, like: Path | None) -> None:
    """Write a volume `(*S)` or `(*S, C)`, in the format of `path` and in the geometry of the file `like`.

    Raises:
        DataError: It cannot be written.
    """
    with replacing(path) as temporary:
        if suffix_of(path) in TIFF:
            planes = voxels if voxels.ndim == 3 else np.moveaxis(voxels, -1, 1)
            with temporary.open("wb") as stream:
                tifffile.imwrite(
                    stream, planes, metadata={"axes": "ZYX" if voxels.ndim == 3 else "ZCYX"}, compression="zlib"
                )
            return
        nibabel = _nibabel()
        back = _back(like, voxels) if like is not None else nibabel.Nifti1Image(voxels, VOXELS)
        # the name tells nibabel whether to compress
        named = temporary.with_name(f"{temporary.name}{suffix_of(path)}")
        nibabel.save(back, named)
        named.replace(temporary)


# ---- NIfTI


def _nibabel() -> Any:
    try:
        import nibabel  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise ConfigError("NIfTI files need the package `nibabel`", hint="`pip install 'segcli[medical]'`") from error
    return nibabel


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (DataError, ConfigError, MemoryError):
        raise
    except FileNotFoundError:
        raise DataError(f"no file `{path}`") from None
    except Exception as error:
        detail = " ".join(str(error).split())[:120] or type(error).__name__
        raise DataError(f"cannot read volume `{path}` ({detail})", hint=MEND) from error


def _canonical(path: Path) -> Any:
    """The file's image with axes from left to right, back to front, and bottom to top."""
    if not path.is_file():
        raise FileNotFoundError(path)
    nibabel = _nibabel()
    image = nibabel.load(path)
    if image.ndim not in (3, 4):
        raise DataError(f"`{path}` has {image.ndim} axes, a volume has 3 (or 4 with channels)", hint=MEND)
    return nibabel.as_closest_canonical(image)


def _read_nifti(path: Path) -> Volume:
    with _reading(path):
        image = _canonical(path)
        slope, intercept = (getattr(image.dataobj, key, None) for key in ("slope", "inter"))
        plain = slope in (None, 1.0) and intercept in (None, 0.0)
        voxels = np.asarray(image.dataobj) if plain else np.asarray(image.dataobj, dtype=np.float32)
        return Volume(voxels if voxels.ndim == 4 else voxels[..., None], _zooms(image))


def _zooms(image: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in image.header.get_zooms()[:3])


def _back(like: Path, voxels: Array) -> Any:
    """A NIfTI image whose canonical axes are those of `voxels`, turned to the axes of `like`."""
    nibabel = _nibabel()
    source = nibabel.load(like)
    there = nibabel.io_orientation(source.affine)
    turned = nibabel.apply_orientation(voxels, nibabel.orientations.ornt_transform(_RAS, there))
    header = nibabel.Nifti1Header()
    header.set_xyzt_units("mm")
    made = nibabel.Nifti1Image(turned, source.affine, header)
    if isinstance(source, nibabel.Nifti1Image):
        made.set_sform(source.affine, code=int(source.header["sform_code"]) or 1)
        made.set_qform(source.affine, code=int(source.header["qform_code"]) or 1)
    return made


_RAS = np.array([[0, 1], [1, 1], [2, 1]])


# ---- TIFF


def _read_tiff(path: Path) -> Volume:
    with _reading(path):
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


def _tiff_spacing(tiff: tifffile.TiffFile) -> tuple[float, ...] | None:
    """As ImageJ writes it, in millimetres."""
    told = tiff.imagej_metadata or {}
    scale = {"micron": 1e-3, "um": 1e-3, "\\u00B5m": 1e-3, "µm": 1e-3, "mm": 1.0}.get(str(told.get("unit", "")))
    tags = tiff.pages[0].tags  # type: ignore[union-attr]
    if scale is None or "spacing" not in told or "XResolution" not in tags or "YResolution" not in tags:
        return None
    across = [tags[name].value[1] / tags[name].value[0] for name in ("YResolution", "XResolution")]
    return tuple(float(value) * scale for value in (told["spacing"], *across))
