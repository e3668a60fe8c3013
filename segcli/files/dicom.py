"""DICOM series in a folder; needs the extra `medical`. Read-only: predictions are written as NIfTI."""

from pathlib import Path

from segcli.core.scratch import Scratch
from segcli.core.types import Array
from segcli.files import FileFormat, Picture, Window
from segcli.files._dicom_series import DICOMSeries, is_dicom
from segcli.files._grid import Grid
from segcli.files._mapped import Mapped

__all__ = ["DICOM"]


class DICOM(FileFormat):
    """Reads volumes with one file per slice, in stored units such as Hounsfield units."""

    endings = ()
    axes = (3,)
    is_folder = True
    writes = False
    answer_ending = ".nii.gz"
    keeps_grid = True

    @classmethod
    def claims(cls, folder: Path) -> bool:
        """Tell whether a folder contains DICOM files."""
        return is_dicom(folder)

    @classmethod
    def open(cls, path: Path, ndim: int, index: int | None = None) -> Picture:
        """Read the header of each slice."""
        return _Series(path)


class _Series(Picture):
    """Reads a series; the slices are unpacked to the disk first."""

    def __init__(self, folder: Path) -> None:
        self.path, self.series = folder, DICOMSeries(folder)
        self.grid: Grid = Grid(self.series.affine, self.series.shape, self.series.steps_mm)
        self.size, self.spacing = self.grid.size, self.grid.spacing
        self.channels, self.itemsize = 1, self.series.dtype.itemsize
        self._unpacked: Scratch | None = None

    @property
    def is_large(self) -> bool:
        """Return True, because the slices are always unpacked."""
        return True

    def unpack(self, scratch: Path | None) -> None:
        """Unpack all slices to the disk."""
        if self._unpacked is not None:
            return
        unpacked = Scratch(self.series.shape[::-1], self.series.dtype, scratch)
        try:
            for number, plane in enumerate(self.series.planes()):
                unpacked.write((number,), plane)
        except BaseException:
            unpacked.close()
            raise
        self._unpacked = unpacked

    def whole(self) -> Array:
        return self.part(tuple(slice(0, length) for length in self.size))

    def part(self, window: Window) -> Array:
        self.unpack(None)
        unpacked = self._unpacked
        assert unpacked is not None
        return Mapped(lambda: unpacked.mapped().T, self.grid).part(window)

    def close(self) -> None:
        if self._unpacked is not None:
            self._unpacked.close()
