"""Series of DICOM files in a folder, as one volume in stored units such as Hounsfield units."""

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
"""DICOM's axes point to the left and to the back, NIfTI's to the right and to the front."""
UNEVEN = 0.02
"""Share of a step by which steps between slices may differ."""
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
    """Tell whether a folder has DICOM files in it."""
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
    """Value of an element that may be missing, or there and empty."""
    value = head.get(name)
    return default if value is None else float(value)


@dataclass(frozen=True)
class _Slice:
    path: Path
    at_mm: float
    """Along the normal of the slices."""
    position: Array
    """Place of the middle of its first pixel, in DICOM's axes."""
    slope: float
    intercept: float
    bits: int
    """Bits of a stored value."""
    is_signed: bool

    @property
    def is_short(self) -> bool:
        """True where every rescaled value is a whole number of 16 bits."""
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
    """A folder with the slices of one series, sorted by their position.

    Raises:
        ConfigError: The package that reads DICOM is not installed.
        DataError: It holds several series or none, slices are missing, or they do not lie on each other.
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
                hint="put each series into a folder of its own",
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
            raise DataError(f"`{path}` holds {head.NumberOfFrames} frames, one slice to a file was expected")
        missing = [name for name in ABOUT[1:6] if head.get(name) is None]
        if missing:
            raise DataError(
                f"`{path}` does not tell its place in the body (`{missing[0]}` is missing)",
                hint="take scouts and reports out of the folder",
            )
        return head

    def _slice(self, path: Path, head: Any, first: Any, normal: Array) -> _Slice:
        for name in ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient"):
            ours, others = (np.array(each.get(name), float) for each in (head, first))
            if not np.allclose(ours, others, atol=1e-3):
                told = " and ".join(f"{values.round(4).tolist()}" for values in (ours, others))
                raise DataError(
                    f"slices of `{self.folder}` differ in `{name}` ({told}): `{path.name}` is of another kind",
                    hint="take it out of the folder",
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
            raise DataError(f"`{self.folder}` holds one slice, which is no volume")
        usual = float(np.median(steps))
        wrong = np.flatnonzero(np.abs(steps - usual) > max(UNEVEN * usual, 1e-3))
        if usual < 1e-3 or len(wrong):
            at = int(wrong[0]) if len(wrong) else 0
            before, after = self.slices[at], self.slices[at + 1]
            raise DataError(
                f"slices of `{self.folder}` are {steps[at]:.4g} mm apart between `{before.path.name}` and "
                f"`{after.path.name}`, and {usual:.4g} mm elsewhere",
                hint="a slice is missing or there twice: fetch the series anew",
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of columns, rows and slices: the order of the axes of `affine`."""
        return self.columns, self.rows, len(self.slices)

    @property
    def steps_mm(self) -> tuple[float, float, float]:
        """Distances between columns, rows and slices."""
        between = (self.slices[-1].at_mm - self.slices[0].at_mm) / (len(self.slices) - 1)
        return self.between_columns_mm, self.between_rows_mm, between

    @property
    def affine(self) -> Array:
        """Matrix from the number of column, row and slice to millimetres, in NIfTI's axes."""
        step = (self.slices[-1].position - self.slices[0].position) / (len(self.slices) - 1)
        affine = np.eye(4)
        affine[:3, :3] = TO_RAS @ np.stack(
            [self.along_row * self.between_columns_mm, self.along_column * self.between_rows_mm, step], axis=1
        )
        affine[:3, 3] = TO_RAS @ self.slices[0].position
        return affine

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values: whole numbers of 16 bits where no rescaled value can be another."""
        return np.dtype(np.int16 if all(entry.is_short for entry in self.slices) else np.float32)

    def planes(self) -> Iterator[Array]:
        """Rescaled values of each slice, `(rows, columns)`.

        Raises:
            DataError: A slice cannot be decoded.
        """
        for entry in self.slices:
            yield self._plane(entry).astype(self.dtype)

    def _plane(self, entry: _Slice) -> Array:
        compressed = "compressed ones may need `pip install pylibjpeg pylibjpeg-libjpeg`"
        with reading(entry.path, "DICOM file", hint=f"replace the file; {compressed}", longest=160):
            stored = np.asarray(self._reader.dcmread(entry.path).pixel_array)
        if stored.shape != (self.rows, self.columns):
            raise DataError(f"`{entry.path}` holds pixels of shape {stored.shape}, grey slices were expected")
        return stored * entry.slope + entry.intercept
