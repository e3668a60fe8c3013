"""Memory-mapped voxels of uncompressed files."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segcli.core.errors import DataError
from segcli.core.types import Array
from segcli.files import Window
from segcli.files._grid import Grid

__all__ = ["Mapped", "map_file", "refuse_cut_off"]


class Mapped:
    """Reads windows of voxels; each window maps the file again.

    Pages of a mapped file count as memory of the process as long as it is mapped.

    Args:
        mapped: Maps all of them as they are stored, `(*S)` or `(*S, C)`.
        grid: Their geometry; None where they are stored in our order of axes.
        scaling: Slope and intercept to what they mean.
    """

    def __init__(
        self, mapped: Callable[[], Array], grid: Grid | None = None, *, scaling: tuple[float, float] | None = None
    ) -> None:
        self.mapped, self.grid, self.scaling = mapped, grid, scaling

    def part(self, window: Window) -> Array:
        """Read a copy of the voxels `(*window, C)` of a window."""
        part = np.array(self.mapped()[window if self.grid is None else self.grid.window(window)])
        part = part.astype(part.dtype.newbyteorder("="), copy=False)
        if self.scaling is not None:
            part = (part * self.scaling[0] + self.scaling[1]).astype(np.float32)
        part = part if self.grid is None else self.grid.as_read(part)
        return np.ascontiguousarray(part if part.ndim == 4 else part[..., None])


def refuse_cut_off(path: Path, needed: int) -> None:
    """Refuse a file with fewer bytes than its header promises.

    Raises:
        DataError: The file is shorter.
    """
    there = path.stat().st_size
    if there < needed:
        raise DataError(
            f"`{path}` is truncated: it has {there:,} bytes, but its header promises {needed:,}",
            hint="copy the file again",
        )


def map_file(
    path: Path, dtype: npt.DTypeLike, shape: tuple[int, ...], offset: int, order: str = "C"
) -> Callable[[], Array]:
    """Make a function that maps an array in a file."""
    needed = offset + math.prod(shape) * np.dtype(dtype).itemsize

    def mapped() -> Array:
        refuse_cut_off(path, needed)
        return np.memmap(path, dtype, "r", offset, shape, order="F" if order == "F" else "C")

    return mapped
