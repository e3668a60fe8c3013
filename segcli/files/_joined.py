"""Several images or volumes of one size, read as the channels of one."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from segcli.core.errors import DataError
from segcli.core.types import Array
from segcli.files import Header, Picture, Window, open_picture

__all__ = ["SAME_GRID", "Joined", "open_joined", "unlike"]

SAME_GRID = "resample the channels of a case to one grid"
SAME_SIZE = {2: "export all channels of an image at one size", 3: SAME_GRID}
SAME_TYPE = "save all channels of an image with one bit depth: it decides which value becomes 1"
UNITS = {2: "pixels", 3: "voxels"}


class Joined(Picture):
    """Reads the channels of several files, in their order; the geometry is that of the first."""

    def __init__(self, parts: Sequence[Picture]) -> None:
        first, *others = self.parts = parts
        self.path, self.size, self.spacing, self.grid = first.path, first.size, first.spacing, first.grid
        self.channels = sum(part.channels for part in parts)
        self.itemsize = max(part.itemsize for part in parts)
        self.orientation = first.orientation
        for other in others:
            if (fault := unlike(other.path, other, first.path, first)) is not None:
                raise fault

    @property
    def is_large(self) -> bool:
        """Tell whether one of the files is large."""
        return any(part.is_large for part in self.parts)

    def whole(self) -> Array:
        return self._stacked([part.read() for part in self.parts])

    def part(self, window: Window) -> Array:
        return self._stacked([part.read(window) for part in self.parts])

    def _stacked(self, channels: Sequence[Array]) -> Array:
        """Join channels; those of a picture must be of one type, because it decides which value becomes 1."""
        for part, each in zip(self.parts, channels, strict=True):
            if len(self.size) == 2 and each.dtype != channels[0].dtype:
                types = f"{each.dtype} values, but the first channel `{self.path}` has {channels[0].dtype}"
                raise DataError(f"`{part.path}` has {types}", hint=SAME_TYPE)
        return np.concatenate(channels, axis=-1)

    def unpack(self, scratch: Path | None) -> None:
        """Unpack each file to the disk."""
        for part in self.parts:
            part.prepare(scratch)

    def close(self) -> None:
        for part in self.parts:
            part.close()


def unlike(path: Path, header: Header | Picture, first: Path, image: Header | Picture) -> DataError | None:
    """Make the error for a further channel of another size or, of a picture, bit depth than the first; else None.

    Args:
        path: File of the further channel.
        header: What its header says.
        first: File of the first channel.
        image: What its header says.
    """
    axes = len(image.size)
    if header.size != image.size:
        sizes = ["x".join(map(str, each.size)) for each in (header, image)]
        message = f"`{path}` has {sizes[0]} {UNITS[axes]}, but the first channel `{first}` has {sizes[1]}"
        return DataError(message, hint=SAME_SIZE[axes])
    if axes == 2 and header.itemsize != image.itemsize:
        bits = [8 * each.itemsize for each in (header, image)]
        return DataError(f"`{path}` has {bits[0]} bits, but the first channel `{first}` has {bits[1]}", hint=SAME_TYPE)
    return None


def open_joined(paths: Sequence[Path], ndim: int, index: int | None = None) -> Picture:
    """Open files as the channels of one image; a single one as it is.

    Args:
        paths: The files.
        ndim: Number of spatial axes.
        index: Page of 2D files of several pages.

    Raises:
        DataError: A file cannot be read, or differs from the first in size or, of a picture, in its type of numbers.
    """
    with ExitStack() as stack:
        parts = [stack.enter_context(open_picture(path, ndim, index)) for path in paths]
        joined = parts[0] if len(parts) == 1 else Joined(parts)
        stack.pop_all()
    return joined
