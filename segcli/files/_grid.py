"""Place of the voxels of a file in the body."""

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
        ConfigError: It is not installed.
    """
    try:
        import nibabel  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise ConfigError("NIfTI files need the package `nibabel`", hint="`pip install 'segcli[medical]'`") from error
    return nibabel


@dataclass(frozen=True)
class Grid:
    """Voxels as a file holds them, and their place in the world.

    `size`, `spacing` and windows are in one order of axes: from left, posterior and inferior on.
    """

    affine: Array
    """Matrix from the stored number of a voxel along each axis to millimetres."""
    stored: tuple[int, ...]
    """Voxels along each stored axis."""
    steps_mm: tuple[float, ...]
    """Distance between voxels along each stored axis."""
    codes: tuple[int, int] = (1, 1)
    """Meaning of the affine by NIfTI: `sform_code` and `qform_code`."""

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
        turns: Array = nibabel_module().io_orientation(self.affine)
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
        """Turn a window into one along the stored axes."""
        found = []
        for axis, length in enumerate(self.stored):
            part = window[self.axes[axis]]
            found.append(slice(length - part.stop, length - part.start) if axis in self.flips else part)
        return tuple(found)

    def as_read(self, part: Array) -> Array:
        """Turn stored voxels `(*S)` or `(*S, C)` into our order of axes."""
        turned = np.flip(part, self.flips)
        return turned.transpose([*(self.axes.index(axis) for axis in range(3)), *range(3, part.ndim)])

    def as_stored(self, part: Array) -> Array:
        """Turn voxels back into the order of the file."""
        return np.flip(part.transpose([*self.axes, *range(3, part.ndim)]), self.flips)


def unplaced(size: tuple[int, ...]) -> Grid:
    """Give the grid of a file that does not tell its place: cubes of 1 mm."""
    return Grid(np.eye(4), size, (1.0, 1.0, 1.0))
