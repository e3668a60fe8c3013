"""Geometry of a volume in patient space."""

import logging
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from segcli.core.errors import ConfigError
from segcli.core.types import Array

__all__ = ["UNITS_MM", "Grid", "is_usable", "nibabel_module", "unplaced"]

UNITS_MM = {"mm": 1.0, "meter": 1000.0, "micron": 0.001}
"""Millimetres of each unit of a NIfTI file."""
FLAT = 1e-3
"""Smallest volume of a voxel, as a share of the box with its edges; three axes in one plane span none."""


def nibabel_module() -> Any:
    """Import nibabel.

    Raises:
        ConfigError: nibabel is not installed.
    """
    try:
        import nibabel  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise ConfigError(
            "NIfTI files need the package `nibabel`", hint="run `pip install 'segcli[medical]'`"
        ) from error
    # it prints what it corrects in a header; what matters is checked here
    nibabel.imageglobals.logger.setLevel(logging.CRITICAL + 1)
    return nibabel


@dataclass(frozen=True)
class Grid:
    """Describes the axes of a file and their geometry in patient space.

    `size`, `spacing` and windows use one order of axes: left to right, posterior to anterior, inferior to superior.
    """

    affine: Array
    """Matrix from stored voxel indices to positions in `unit`."""
    stored: tuple[int, ...]
    """Number of voxels along each stored axis."""
    steps_mm: tuple[float, ...]
    """Distance between voxels along each stored axis."""
    codes: tuple[int, int] = (1, 1)
    """NIfTI codes of the affine: `sform_code` and `qform_code`; 0 and 0 if only the size of the voxels is stated."""
    qform: Array | None = None
    """Second matrix of the file, for readers that prefer it."""
    unit: str = "mm"
    """Unit of `affine` and `qform`, one of `UNITS_MM`."""
    remark: str = ""
    """Says what a user should know about the geometry, as a sentence without its end."""

    @cached_property
    def axes(self) -> list[int]:
        """Return the axis of segcli for each stored axis."""
        return [int(axis) for axis, _ in self._turns]

    @cached_property
    def flips(self) -> tuple[int, ...]:
        """Return the stored axes with the opposite direction."""
        return tuple(axis for axis, (_, way) in enumerate(self._turns) if way < 0)

    @cached_property
    def _turns(self) -> Array:
        # rounded, so that two files whose axes lie halfway between two directions are read alike
        directions = np.eye(4)
        directions[:3, :3] = (self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)).round(3)
        return _orientation(directions.tobytes())

    @property
    def size(self) -> tuple[int, ...]:
        """Return the number of voxels along each axis."""
        return tuple(self.stored[self.axes.index(axis)] for axis in range(3))

    @property
    def spacing(self) -> tuple[float, ...]:
        """Return the millimetres between voxels along each axis."""
        return tuple(self.steps_mm[self.axes.index(axis)] for axis in range(3))

    @cached_property
    def placed(self) -> Array:
        """Return the matrix from voxel indices in the axes of segcli to millimetres."""
        turned: Array = self.affine @ nibabel_module().orientations.inv_ornt_aff(self._turns, self.stored)
        turned[:3] *= UNITS_MM[self.unit]
        return turned

    @property
    def words(self) -> str:
        """Describe the matrix by the directions of the stored axes, the spacing and the position of the first voxel."""
        letters = "".join(nibabel_module().aff2axcodes(self.affine))
        spacing = "x".join(f"{step:.5g}" for step in self.steps_mm)
        origin = ", ".join(f"{value:.5g}" for value in self.affine[:3, 3] * UNITS_MM[self.unit] + 0.0)
        unstated = "" if any(self.codes) else " (taken from its size: `sform_code` and `qform_code` are 0)"
        return f"axes {letters}, spacing {spacing} mm and origin ({origin}) mm{unstated}"

    def window(self, window: tuple[slice, ...]) -> tuple[slice, ...]:
        """Convert a window to the stored axes."""
        found = []
        for axis, length in enumerate(self.stored):
            part = window[self.axes[axis]]
            found.append(slice(length - part.stop, length - part.start) if axis in self.flips else part)
        return tuple(found)

    def as_read(self, part: Array) -> Array:
        """Convert stored voxels `(*S)` or `(*S, C)` to the axes of segcli."""
        turned = np.flip(part, self.flips)
        return turned.transpose([*(self.axes.index(axis) for axis in range(3)), *range(3, part.ndim)])

    def as_stored(self, part: Array) -> Array:
        """Convert voxels back to the axes of the file."""
        return np.flip(part.transpose([*self.axes, *range(3, part.ndim)]), self.flips)


@lru_cache(maxsize=1024)
def _orientation(directions: bytes) -> Array:
    """Find the axis and the direction in the patient of each stored axis; a matrix of many files is analysed once."""
    turns: Array = nibabel_module().io_orientation(np.frombuffer(directions).reshape(4, 4))
    return turns


def unplaced(size: tuple[int, ...]) -> Grid:
    """Make the grid of a file without geometry: voxels of 1 mm."""
    return Grid(np.eye(4), size, (1.0, 1.0, 1.0))


def is_usable(affine: Array) -> bool:
    """Tell whether a matrix `(4, 4)` maps each voxel to its own position."""
    if not np.isfinite(affine).all():
        return False
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    return bool(sizes.min() > 0 and abs(np.linalg.det(affine[:3, :3] / sizes)) > FLAT)
