"""DICOM series: the files of a folder as one volume in stored units such as Hounsfield units."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segcli.core.errors import DataError
from segcli.core.optional import optional
from segcli.core.types import Array
from segcli.files import reading

__all__ = ["DICOMSeries", "is_dicom"]

ENDINGS = {".dcm", ".ima", ".dicom"}
OFFSET, MAGIC = 128, b"DICM"
TO_RAS = np.diag([-1.0, -1.0, 1.0])
"""Converts DICOM axes, which point left and posterior, to NIfTI axes, which point right and anterior."""
UNEVEN = 0.02
"""Largest relative difference between the distances of slices."""
ABOUT = (
    "SeriesInstanceUID",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "RescaleSlope",
    "RescaleIntercept",
    "BitsStored",
    "PixelRepresentation",
)


def is_dicom(path: Path) -> bool:
    """Tell whether a folder contains DICOM files."""
    return path.is_dir() and next(_files(path), None) is not None


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == "DICOMDIR" or not path.is_file():
            continue
        if path.suffix.lower() in ENDINGS or (not path.suffix[1:].isalpha() and _has_magic(path)):
            yield path


def _has_magic(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            stream.seek(OFFSET)
            return stream.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def _number(head: Any, name: str, default: float) -> float:
    """Read the number of an element that may be missing or empty."""
    value = head.get(name)
    return default if value is None else float(value)


@dataclass(frozen=True)
class _Slice:
    path: Path
    at_mm: float
    """Position along the normal of the slices."""
    position: Array
    """Centre of the first pixel, in DICOM axes."""
    slope: float
    intercept: float
    bits: int
    """Bits of a stored value."""
    is_signed: bool

    @property
    def is_short(self) -> bool:
        """Tell whether every rescaled value fits a 16-bit integer."""
        half = 2 ** (self.bits - 1)
        ends = (-half, half - 1) if self.is_signed else (0, 2 * half - 1)
        limits = np.iinfo(np.int16)
        return all(
            limits.min <= value <= limits.max
            and self.slope == int(self.slope)
            and self.intercept == int(self.intercept)
            for value in (end * self.slope + self.intercept for end in ends)
        )


class DICOMSeries:
    """Reads the slices of one series in a folder, sorted by their position.

    Raises:
        ConfigError: The package that reads DICOM is not installed.
        DataError: The folder has no series or several, slices are missing, or slices do not match.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._reader = optional("pydicom", extra="medical", purpose=f"`{folder}`")
        heads = [(path, self._header(path)) for path in _files(folder)]
        if not heads:
            raise DataError(f"no DICOM files in `{folder}`")
        series = {str(head.get("SeriesInstanceUID", "")) for _, head in heads}
        if len(series) > 1:
            raise DataError(
                f"`{folder}` holds {len(series)} DICOM series in {len(heads)} files",
                hint="put each series into its own folder",
            )
        first = heads[0][1]
        self.rows, self.columns = int(first.Rows), int(first.Columns)
        across = np.array([float(value) for value in first.ImageOrientationPatient])
        self.along_row, self.along_column = across[:3], across[3:]
        self.between_rows_mm, self.between_columns_mm = map(float, first.PixelSpacing)
        normal = np.cross(self.along_row, self.along_column)
        self.slices = sorted((self._slice(path, head, first, normal) for path, head in heads), key=lambda it: it.at_mm)
        self._check_steps()

    def _header(self, path: Path) -> Any:
        with reading(path, "DICOM file", hint="replace the file"):
            head = self._reader.dcmread(path, stop_before_pixels=True, specific_tags=list(ABOUT))
        if int(head.get("NumberOfFrames", 1) or 1) > 1:
            raise DataError(f"`{path}` holds {head.NumberOfFrames} frames, but one slice per file was expected")
        missing = [name for name in ABOUT[1:6] if head.get(name) is None]
        if missing:
            raise DataError(
                f"`{path}` has no position in the body (`{missing[0]}` is missing)",
                hint="remove scouts and reports from the folder",
            )
        return head

    def _slice(self, path: Path, head: Any, first: Any, normal: Array) -> _Slice:
        for name in ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient"):
            ours, others = (np.array(each.get(name), float) for each in (head, first))
            if not np.allclose(ours, others, atol=1e-3):
                shown = " and ".join(f"{values.round(4).tolist()}" for values in (ours, others))
                raise DataError(
                    f"slices of `{self.folder}` differ in `{name}` ({shown}): `{path.name}` does not belong to them",
                    hint="remove the file from the folder",
                )
        position = np.array([float(value) for value in head.ImagePositionPatient])
        return _Slice(
            path,
            float(position @ normal),
            position,
            slope=_number(head, "RescaleSlope", 1.0),
            intercept=_number(head, "RescaleIntercept", 0.0),
            bits=int(head.get("BitsStored", 16)),
            is_signed=bool(head.get("PixelRepresentation", 0)),
        )

    def _check_steps(self) -> None:
        steps = np.diff([entry.at_mm for entry in self.slices])
        if not len(steps):
            raise DataError(f"`{self.folder}` holds only one slice, but a volume needs several")
        usual = float(np.median(steps))
        wrong = np.flatnonzero(np.abs(steps - usual) > max(UNEVEN * usual, 1e-3))
        if usual < 1e-3 or len(wrong):
            at = int(wrong[0]) if len(wrong) else 0
            before, after = self.slices[at], self.slices[at + 1]
            raise DataError(
                f"slices of `{self.folder}` are {steps[at]:.4g} mm apart between `{before.path.name}` and "
                f"`{after.path.name}`, but {usual:.4g} mm elsewhere",
                hint="a slice is missing or duplicated: export the series again",
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the numbers of columns, rows and slices, in the order of the axes of `affine`."""
        return self.columns, self.rows, len(self.slices)

    @property
    def steps_mm(self) -> tuple[float, float, float]:
        """Return the distances between columns, rows and slices."""
        between = (self.slices[-1].at_mm - self.slices[0].at_mm) / (len(self.slices) - 1)
        return self.between_columns_mm, self.between_rows_mm, between

    @property
    def affine(self) -> Array:
        """Compute the matrix from indices of column, row and slice to millimetres, in NIfTI axes."""
        step = (self.slices[-1].position - self.slices[0].position) / (len(self.slices) - 1)
        affine = np.eye(4)
        affine[:3, :3] = TO_RAS @ np.stack(
            [self.along_row * self.between_columns_mm, self.along_column * self.between_rows_mm, step], axis=1
        )
        affine[:3, 3] = TO_RAS @ self.slices[0].position
        return affine

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the type of the values: 16-bit integers if all rescaled values fit, otherwise float32."""
        return np.dtype(np.int16 if all(entry.is_short for entry in self.slices) else np.float32)

    def planes(self) -> Iterator[Array]:
        """Yield the rescaled values of each slice, `(rows, columns)`.

        Raises:
            DataError: A slice cannot be decoded.
        """
        for entry in self.slices:
            yield self._plane(entry).astype(self.dtype)

    def _plane(self, entry: _Slice) -> Array:
        compressed = "compressed files may need `pip install pylibjpeg pylibjpeg-libjpeg`"
        with reading(entry.path, "DICOM file", hint=f"replace the file; {compressed}", longest=160):
            stored = np.asarray(self._reader.dcmread(entry.path).pixel_array)
        if stored.shape != (self.rows, self.columns):
            raise DataError(f"`{entry.path}` holds pixels of shape {stored.shape}, but grey slices were expected")
        return stored * entry.slope + entry.intercept
