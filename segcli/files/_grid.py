"""Geometry of a volume in patient space."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from segcli.core.errors import ConfigError
from segcli.core.types import Array

__all__ = ["Grid", "nibabel_module", "unplaced"]


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
    return nibabel


@dataclass(frozen=True)
class Grid:
    """Describes the axes of a file and their geometry in patient space.

    `size`, `spacing` and windows use one order of axes: left to right, posterior to anterior, inferior to superior.
    """

    affine: Array
    """Matrix from stored voxel indices to millimetres."""
    stored: tuple[int, ...]
    """Number of voxels along each stored axis."""
    steps_mm: tuple[float, ...]
    """Distance between voxels along each stored axis."""
    codes: tuple[int, int] = (1, 1)
    """NIfTI codes of the affine: `sform_code` and `qform_code`."""

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
        turns: Array = nibabel_module().io_orientation(self.affine)
        return turns

    @property
    def size(self) -> tuple[int, ...]:
        """Return the number of voxels along each axis."""
        return tuple(self.stored[self.axes.index(axis)] for axis in range(3))

    @property
    def spacing(self) -> tuple[float, ...]:
        """Return the millimetres between voxels along each axis."""
        return tuple(self.steps_mm[self.axes.index(axis)] for axis in range(3))

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


def unplaced(size: tuple[int, ...]) -> Grid:
    """Make the grid of a file without geometry: voxels of 1 mm."""
    return Grid(np.eye(4), size, (1.0, 1.0, 1.0))
