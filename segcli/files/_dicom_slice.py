"""One slice of a DICOM series: what its header states about its place and its values."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segcli.core.errors import DataError
from segcli.core.names import printable
from segcli.core.optional import optional
from segcli.core.types import Array
from segcli.files import reading
from segcli.files._promises import refuse_more_than_slice

__all__ = ["AGAIN", "Slice", "read_slice"]

UNEVEN = 0.01
"""Largest deviation of the axes of a slice from unit vectors that are perpendicular."""
NEEDED = {
    "Rows": "size",
    "Columns": "size",
    "ImagePositionPatient": "position in the body",
    "ImageOrientationPatient": "position in the body",
    "PixelSpacing": "spacing",
}
"""Elements that a slice must have, each with what it gives."""
ABOUT = (
    *NEEDED,
    "SeriesInstanceUID",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "ModalityLUTSequence",
    "RescaleSlope",
    "RescaleIntercept",
    "BitsStored",
    "PixelRepresentation",
)
DECODERS = "pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"


@dataclass(frozen=True)
class Slice:
    """Describes one file of a series."""

    path: Path
    series: str
    size: Array
    """Rows and columns."""
    directions: Array
    """Unit vectors along a row and along a column, six numbers in DICOM axes."""
    spacing_mm: Array
    """Millimetres between rows and between columns."""
    position: Array
    """Centre of the first pixel, in DICOM axes."""
    slope: float
    intercept: float
    bits: int
    """Bits of a stored value."""
    is_signed: bool
    is_inverted: bool
    """Tells whether the lowest value is white (`MONOCHROME1`)."""

    @property
    def ends(self) -> tuple[int, int]:
        """Return the lowest and the highest value that can be stored."""
        half = 2 ** (self.bits - 1)
        return (-half, half - 1) if self.is_signed else (0, 2 * half - 1)

    @property
    def is_short(self) -> bool:
        """Tell whether every rescaled value fits a 16-bit integer."""
        limits = np.iinfo(np.int16)
        return all(
            limits.min <= value <= limits.max
            and self.slope == int(self.slope)
            and self.intercept == int(self.intercept)
            for value in (end * self.slope + self.intercept for end in self.ends)
        )

    def rescaled(self, stored: Array) -> Array:
        """Convert stored values to their unit; values of `MONOCHROME1` are turned, so that the highest is white."""
        if self.is_inverted:
            stored = sum(self.ends) - stored.astype(np.int64)
        rescaled: Array = stored * self.slope + self.intercept
        return rescaled


def read_slice(path: Path, reader: Any) -> Slice:
    """Read the header of a file with pydicom.

    Raises:
        DataError: The file is damaged, or no single grey slice with a position.
    """
    # elements are decoded when they are used, so all of them may be damaged
    with reading(path, "DICOM file", hint="replace the file"):
        return _sliced(path, _Header(path, reader.dcmread(path, stop_before_pixels=True, specific_tags=list(ABOUT))))


def _sliced(path: Path, head: "_Header") -> Slice:
    _check_kind(head)
    refuse_more_than_slice(path, [int(head.number(name)) for name in ("Rows", "Columns")])
    slope, intercept = head.number("RescaleSlope", 1.0), head.number("RescaleIntercept", 0.0)
    is_inverted = str(head.data.get("PhotometricInterpretation", "")) == "MONOCHROME1"
    if slope == 0:
        raise DataError(f"`{path}` states the `RescaleSlope` 0, which makes all values equal", hint=AGAIN)
    if is_inverted and (slope, intercept) != (1.0, 0.0):
        raise DataError(
            f"`{path}` is `MONOCHROME1` (0 is white), but has a rescale slope of {slope:g} and an intercept of "
            f"{intercept:g}, so what its values mean is not clear",
            hint="export the series as `MONOCHROME2`",
        )
    directions, spacing = head.numbers("ImageOrientationPatient", 6), head.numbers("PixelSpacing", 2)
    axes = directions.reshape(2, 3)
    if not np.allclose(axes @ axes.T, np.eye(2), atol=UNEVEN):
        raise DataError(
            f"`{path}` states axes that are not perpendicular unit vectors: {head.text('ImageOrientationPatient')}",
            hint=AGAIN,
        )
    if spacing.min() <= 0:
        raise DataError(f"`{path}` states the `PixelSpacing` {head.text('PixelSpacing')}", hint=AGAIN)
    return Slice(
        path,
        series=str(head.data.get("SeriesInstanceUID", "")),
        size=np.array([head.number("Rows"), head.number("Columns")]),
        directions=directions,
        spacing_mm=spacing,
        position=head.numbers("ImagePositionPatient", 3),
        slope=slope,
        intercept=intercept,
        bits=int(head.number("BitsStored", 16)),
        is_signed=bool(head.number("PixelRepresentation", 0)),
        is_inverted=is_inverted,
    )


AGAIN = "export the series again"


class _Header:
    """Reads elements that may be missing, empty or no numbers."""

    def __init__(self, path: Path, data: Any) -> None:
        self.path, self.data = path, data

    def numbers(self, name: str, count: int) -> Array:
        """Read the finite numbers of an element.

        Raises:
            DataError: The element is missing or holds something else.
        """
        try:
            value = self.data.get(name)
            values = None if value is None else np.array(value, float).reshape(-1)
        except (ValueError, TypeError, OverflowError):
            values = np.zeros(0)
        if values is None:
            what = NEEDED[name]
            hint = AGAIN if what == "spacing" else "remove scouts and reports from the folder"
            raise DataError(f"`{self.path}` has no {what} (`{name}` is missing)", hint=hint)
        if len(values) != count or not np.isfinite(values).all():
            wanted = "one number was" if count == 1 else f"{count} numbers were"
            raise DataError(f"`{self.path}` states the `{name}` {self.text(name)}, but {wanted} expected", hint=AGAIN)
        return values

    def number(self, name: str, default: float | None = None) -> float:
        """Read one number; `default` stands for an element that is missing or empty."""
        try:
            is_missing = default is not None and self.data.get(name) is None
        except ValueError:
            is_missing = False
        return float(default) if is_missing and default is not None else float(self.numbers(name, 1)[0])

    def text(self, name: str) -> str:
        """Show the value as the file holds it."""
        value = self.data.get_item(name).value
        return f"`{printable(value.decode('ascii', 'replace') if isinstance(value, bytes) else str(value))}`"


def _check_kind(head: _Header) -> None:
    """Refuse everything except a single grey picture that can be decoded."""
    path, frames = head.path, head.number("NumberOfFrames", 1)
    if frames > 1:
        raise DataError(
            f"`{path}` holds {frames:g} frames, but one slice per file was expected",
            hint="export one file per slice, or convert the file to NIfTI with `dcm2niix`",
        )
    meaning = str(head.data.get("PhotometricInterpretation") or "MONOCHROME2")
    if not meaning.startswith("MONOCHROME") or head.number("SamplesPerPixel", 1) != 1:
        raise DataError(
            f"`{path}` holds colours (`{printable(meaning)}`), but grey slices were expected",
            hint="remove screenshots and colour maps from the folder",
        )
    if head.data.get("ModalityLUTSequence"):
        raise DataError(f"`{path}` rescales its values by a table (`ModalityLUTSequence`)", hint="export it without")
    syntax = getattr(head.data.file_meta, "TransferSyntaxUID", None)
    if syntax is not None and syntax.is_encapsulated and not _can_decode(syntax):
        raise DataError(
            f"`{path}` is compressed ({printable(syntax.name)}), and no package that is installed can decode it",
            hint=f"run `pip install {DECODERS}`",
        )


def _can_decode(syntax: Any) -> bool:
    try:
        return bool(optional("pydicom.pixels", extra="medical", purpose="DICOM").get_decoder(syntax).is_available)
    except NotImplementedError:
        return False
