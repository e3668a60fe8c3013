"""Several volumes of one size, read as the channels of one."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from segcli.core.errors import DataError
from segcli.core.types import Array
from segcli.files import Picture, Window, open_picture

__all__ = ["Joined", "open_joined"]


class Joined(Picture):
    """Reads the channels of several volumes, in their order; the geometry is that of the first."""

    def __init__(self, parts: Sequence[Picture]) -> None:
        first, *others = self.parts = parts
        self.path, self.size, self.spacing, self.grid = first.path, first.size, first.spacing, first.grid
        self.channels = sum(part.channels for part in parts)
        self.itemsize = max(part.itemsize for part in parts)
        for other in others:
            if other.size != first.size:
                sizes = ["x".join(map(str, part.size)) for part in (other, first)]
                raise DataError(
                    f"`{other.path}` has {sizes[0]} voxels, but the first channel `{first.path}` has {sizes[1]}",
                    hint="resample the channels of a case to one grid",
                )

    @property
    def is_large(self) -> bool:
        """Tell whether one of the volumes is large."""
        return any(part.is_large for part in self.parts)

    def whole(self) -> Array:
        return np.concatenate([part.read() for part in self.parts], axis=-1)

    def part(self, window: Window) -> Array:
        return np.concatenate([part.read(window) for part in self.parts], axis=-1)

    def unpack(self, scratch: Path | None) -> None:
        """Unpack each volume to the disk."""
        for part in self.parts:
            part.prepare(scratch)

    def close(self) -> None:
        for part in self.parts:
            part.close()


def open_joined(paths: Sequence[Path], ndim: int) -> Picture:
    """Open files as the channels of one image; a single one as it is.

    Raises:
        DataError: A file cannot be read, or its size is another one.
    """
    with ExitStack() as stack:
        parts = [stack.enter_context(open_picture(path, ndim)) for path in paths]
        joined = parts[0] if len(parts) == 1 else Joined(parts)
        stack.pop_all()
    return joined
