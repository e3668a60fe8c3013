"""DICOM series: the files of a folder as one volume in stored units such as Hounsfield units."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from segcli.core.errors import DataError
from segcli.core.optional import optional
from segcli.core.types import Array
from segcli.files import reading
from segcli.files._dicom_slice import AGAIN, Slice, read_slice

__all__ = ["DICOMSeries", "is_dicom"]

PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
"""Elements that may hold the pixels."""

ENDINGS = {".dcm", ".ima", ".dicom"}
OFFSET, MAGIC = 128, b"DICM"
TO_RAS = np.diag([-1.0, -1.0, 1.0])
"""Converts DICOM axes, which point left and posterior, to NIfTI axes, which point right and anterior."""
UNEVEN = 0.02
"""Largest relative difference between the distances of slices."""
TOUCHING = 1e-3
"""Slices that are less than this many millimetres apart lie at one position."""


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


class DICOMSeries:
    """Reads the slices of one series in a folder, sorted by their position.

    Raises:
        ConfigError: The package that reads DICOM is not installed.
        DataError: The folder has no series or several, slices are missing, or slices do not match.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._reader = optional("pydicom", extra="medical", purpose=f"`{folder}`")
        self._reader.config.settings.reading_validation_mode = (
            self._reader.config.IGNORE
        )  # what is used is checked here
        found = [read_slice(path, self._reader) for path in _files(folder)]
        if not found:
            raise DataError(f"no DICOM files in `{folder}`")
        series = {each.series for each in found}
        if len(series) > 1:
            raise DataError(
                f"`{folder}` holds {len(series)} DICOM series in {len(found)} files",
                hint="put each series into its own folder",
            )
        first = found[0]
        for each in found:
            self._compare(each, first)
        self.rows, self.columns = map(int, first.size)
        self.along_row, self.along_column = first.directions[:3], first.directions[3:]
        self.between_rows_mm, self.between_columns_mm = map(float, first.spacing_mm)
        self._normal = np.cross(self.along_row, self.along_column)
        self.slices = sorted(found, key=self._at_mm)
        self._check_steps()
        self._check_line()

    def _compare(self, one: Slice, first: Slice) -> None:
        for name, ours, others in (
            ("Rows", one.size[:1], first.size[:1]),
            ("Columns", one.size[1:], first.size[1:]),
            ("PixelSpacing", one.spacing_mm, first.spacing_mm),
            ("ImageOrientationPatient", one.directions, first.directions),
        ):
            if not np.allclose(ours, others, atol=1e-3):
                shown = " and ".join(f"{values.round(4).tolist()}" for values in (ours, others))
                raise DataError(
                    f"slices of `{self.folder}` differ in `{name}` ({shown}): `{one.path.name}` does not belong to "
                    "them",
                    hint="remove the file from the folder",
                )

    def _at_mm(self, entry: Slice) -> float:
        """Compute the position along the normal of the slices."""
        return float(entry.position @ self._normal)

    def _check_steps(self) -> None:
        steps = np.diff([self._at_mm(entry) for entry in self.slices])
        if not len(steps):
            raise DataError(f"`{self.folder}` holds only one slice, but a volume needs several")
        if steps.min() < TOUCHING:
            before, after = self.slices[int(steps.argmin())], self.slices[int(steps.argmin()) + 1]
            raise DataError(
                f"slices of `{self.folder}` are {steps.min():.4g} mm apart between `{before.path.name}` and "
                f"`{after.path.name}`: two slices lie at one position, {_place(before)}",
                hint="a slice is there twice, or the folder holds several scans: put each scan into its own folder",
            )
        usual = float(np.median(steps))
        wrong = np.flatnonzero(np.abs(steps - usual) > max(UNEVEN * usual, TOUCHING))
        if len(wrong):
            at = int(wrong[0])
            before, after = self.slices[at], self.slices[at + 1]
            raise DataError(
                f"slices of `{self.folder}` are {steps[at]:.4g} mm apart between `{before.path.name}` and "
                f"`{after.path.name}` ({_place(before)} and {_place(after)}), but {usual:.4g} mm elsewhere",
                hint="a slice is missing or duplicated: export the series again",
            )

    def _check_line(self) -> None:
        """Refuse slices that are shifted against each other by a pixel or more."""
        positions = np.stack([each.position for each in self.slices])
        along = np.array([self._at_mm(each) for each in self.slices])
        share = (along - along[0]) / (along[-1] - along[0])
        sideways = np.linalg.norm(positions - positions[0] - share[:, None] * (positions[-1] - positions[0]), axis=1)
        if sideways.max() >= min(self.between_rows_mm, self.between_columns_mm):
            worst = self.slices[int(sideways.argmax())]
            raise DataError(
                f"slices of `{self.folder}` do not lie on a line: `{worst.path.name}` at {_place(worst)} is "
                f"{sideways.max():.4g} mm beside it",
                hint="put each scan into its own folder",
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the numbers of columns, rows and slices, in the order of the axes of `affine`."""
        return self.columns, self.rows, len(self.slices)

    @property
    def steps_mm(self) -> tuple[float, float, float]:
        """Return the distances between columns, rows and slices."""
        between = (self._at_mm(self.slices[-1]) - self._at_mm(self.slices[0])) / (len(self.slices) - 1)
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

    def _plane(self, entry: Slice) -> Array:
        with reading(entry.path, "DICOM file", hint="replace the file", longest=160):
            dataset = self._reader.dcmread(entry.path)
            if not any(dataset.get(name) for name in PIXELS):
                raise DataError(f"`{entry.path}` holds no pixels (`PixelData` is missing or empty)", hint=AGAIN)
            stored = np.asarray(dataset.pixel_array)
        if stored.shape != (self.rows, self.columns):
            raise DataError(f"`{entry.path}` holds pixels of shape {stored.shape}, but grey slices were expected")
        return entry.rescaled(stored)


def _place(entry: Slice) -> str:
    return f"({', '.join(f'{value:.5g}' for value in entry.position + 0.0)}) mm"
