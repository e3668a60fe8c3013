"""A folder of masks of single objects, `masks/*.png`, beside the folder `images` with their only image.

Read as one mask of 0 and 255, in which every object is foreground. This is the form of the Data Science Bowl 2018.
"""

from pathlib import Path

import numpy as np

from segcli.core.errors import DataError
from segcli.core.types import Array
from segcli.files import FileFormat, Picture, open_picture
from segcli.files._endings import ending_of, endings

__all__ = ["ObjectMasks"]


class ObjectMasks(FileFormat):
    """Reads the masks of the objects of an image as one mask."""

    axes = (2,)
    is_folder = True
    writes = False

    @classmethod
    def claims(cls, folder: Path) -> bool:
        """Tell whether a folder `masks` stands beside a folder `images` with one file."""
        beside = folder.parent / "images"
        return folder.name == "masks" and beside.is_dir() and len(_pictures(beside)) == 1 and bool(_pictures(folder))

    @classmethod
    def open(cls, path: Path, ndim: int, index: int | None = None) -> Picture:
        """Read the header of the first mask."""
        return _Objects(path)


class _Objects(Picture):
    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = _pictures(path)
        with open_picture(self.files[0], 2) as first:
            self.size = first.size
        self.channels, self.itemsize = 1, 1

    def whole(self) -> Array:
        union = np.zeros(self.size, bool)
        for file in self.files:
            with open_picture(file, 2) as picture:
                marks = picture.read_labels()
            if marks.shape[:2] != self.size:
                sizes = ["x".join(map(str, size)) for size in (marks.shape[:2], self.size)]
                raise DataError(
                    f"`{file}` is {sizes[0]}, but `{self.files[0].name}` beside it is {sizes[1]}",
                    hint="all masks of an image must have its size",
                )
            union |= marks.reshape(*self.size, -1).any(axis=-1)
        return union[..., None].astype(np.uint8) * np.uint8(255)


def _pictures(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.name[0] != "." and ending_of(file) in endings(2))
