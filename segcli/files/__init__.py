"""File formats, one file each: pixels come from the disk and go there. What every format keeps stands here.

A format is chosen by the end of a name, or by what lies in a folder. Only its own file is imported then.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy.typing as npt

from segcli.core.errors import DataError, SegcliError, Stopped
from segcli.core.registry import FILES
from segcli.core.types import Array
from segcli.files._endings import ending_of, endings, stated_formats, stem_of

if TYPE_CHECKING:
    from segcli.files._grid import Grid

__all__ = [
    "LARGE",
    "Add",
    "FileFormat",
    "Header",
    "Picture",
    "Window",
    "answer_name",
    "create",
    "ending_of",
    "endings",
    "format_of",
    "is_picture_folder",
    "open_picture",
    "read_header",
    "reading",
    "stem_of",
]

LARGE = 2**26
"""Pixels from which on an image is read in parts and its answer written in tiles."""
KEPT = 2**27
"""Bytes of decoded tiles that are kept, because windows overlap; of stacks and HDF5 files twice that."""
HINT = "replace the file, or take it out of the data set"
WORDS = {2: "image", 3: "volume"}
Window = tuple[slice, ...]
Add = Callable[[Array], None]
"""Takes the next rows of an image, or the next planes `(d, *S)` or `(d, *S, C)` of a volume."""


@dataclass(frozen=True)
class Header:
    """Describes the image of a file without decoding it."""

    size: tuple[int, ...]
    """Height and width, or planes, rows and columns."""
    channels: int
    """Channels as stored, with an alpha channel left out."""
    itemsize: int
    """Bytes per value."""
    spacing: tuple[float, ...] | None = None
    """Millimetres between pixels along each axis; None where the file does not tell."""


class Picture(ABC):
    """An image or a volume on the disk: its header, and its pixels as a whole or in parts.

    A format gives `whole`, and `part` where parts can be read by themselves. What they raise is told by `read`.
    """

    path: Path
    size: tuple[int, ...]
    """Spatial size: height and width, or that of a volume."""
    channels: int
    """Channels as stored; of an image, an alpha channel is left out."""
    itemsize: int
    """Bytes per value."""
    spacing: tuple[float, ...] | None = None
    """Millimetres between pixels along each axis; None where the file does not tell."""
    grid: "Grid | None" = None
    """Place in the body; None where the file does not tell."""
    hint: str = HINT
    """Says what to do with a damaged file."""

    @property
    def has_many_pixels(self) -> bool:
        """True where the image may be too large to be read as a whole."""
        return math.prod(self.size) >= LARGE

    @property
    def is_large(self) -> bool:
        """True where parts are to be read in place of the whole; False for formats that only read the whole."""
        return False

    def prepare(self, scratch: Path | None) -> None:
        """Lay out on the disk what is packed as a whole, or lies in many files, so that parts can be read.

        Args:
            scratch: Folder for that; the system's own when None.

        Raises:
            DataError: The file is damaged.
        """
        with reading(self.path, WORDS[len(self.size)], hint=self.hint):
            self.unpack(scratch)

    def read(self, window: Window | None = None) -> Array:
        """Read the pixels `(*S, C)` of a window inside the image, or all of them.

        Raises:
            DataError: They cannot be decoded.
        """
        with reading(self.path, WORDS[len(self.size)], hint=self.hint):
            return self._plain(self.whole() if window is None else self.part(window))

    def read_labels(self) -> Array:
        """Read numbers as stored, `(*S)` or `(*S, C)`; of a colour palette, its indices.

        Raises:
            DataError: They cannot be decoded.
        """
        with reading(self.path, WORDS[len(self.size)], hint=self.hint):
            return self._plain(self.numbers())

    def _plain(self, values: Array) -> Array:
        if values.dtype.kind not in "buif":
            raise DataError(f"`{self.path}` holds {values.dtype} values, plain numbers were expected", hint=self.hint)
        return values

    @abstractmethod
    def whole(self) -> Array:
        """Decode all pixels `(*S, C)`."""

    def part(self, window: Window) -> Array:
        """Decode the pixels `(*window, C)` of a window."""
        return self.whole()[window]

    def unpack(self, scratch: Path | None) -> None:
        """Do what `prepare` promises; formats of which parts are read at once have nothing to do."""
        return

    def numbers(self) -> Array:
        """Decode numbers as stored."""
        return self.whole()

    def close(self) -> None:
        """Let go of the file."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class FileFormat(ABC):
    """Opens and writes the files of one format.

    The first five values are read without importing the file: they are plain.
    """

    endings: ClassVar[tuple[str, ...]] = ()
    """Ends of names, in small letters."""
    listed: ClassVar[tuple[str, ...] | None] = None
    """Endings that are taken from a folder without being named; all when None."""
    axes: ClassVar[tuple[int, ...]] = (2,)
    """Numbers of spatial axes: 2 for images, 3 for volumes."""
    is_folder: ClassVar[bool] = False
    """True where one image is a folder, which `claims` recognises."""
    holds_many: ClassVar[bool] = False
    """True where a file may hold many images, which `members` names."""
    writes: ClassVar[bool] = True
    """True where `create` writes files of one image."""
    answer_ending: ClassVar[str] = ".tif"
    """End of the names of answers where the format is not written itself."""
    keeps_grid: ClassVar[bool] = False
    """True where files tell the place in the body, so that probabilities are written as NIfTI in the same place."""

    @classmethod
    def claims(cls, folder: Path) -> bool:
        """Say whether a folder is one image of this format."""
        return False

    @classmethod
    def members(cls, path: Path) -> list[str] | None:
        """Name the images of a file that holds many; None for formats of one.

        Raises:
            DataError: The file is damaged.
        """
        return None

    @classmethod
    @abstractmethod
    def open(cls, path: Path, ndim: int, index: int | None = None) -> Picture:
        """Read the header of a file.

        Args:
            path: The file or folder.
            ndim: Spatial axes that are wanted, one of `axes`.
            index: Position in a file that holds many.
        """

    @classmethod
    def create(
        cls, path: Path, size: tuple[int, ...], dtype: npt.DTypeLike, *, like: Picture | None = None, channels: int = 0
    ) -> AbstractContextManager[Add]:
        """Write a file band by band, which is there whole or not at all.

        Args:
            path: The file.
            size: Spatial size; as many rows or planes are to be added.
            dtype: Type of the values.
            like: Image whose geometry the file has.
            channels: 0 for none.

        Raises:
            DataError: It cannot be written.
        """
        raise NotImplementedError(f"{cls.__name__} files are read only")


# ---- the one boundary around readers


@contextmanager
def reading(path: Path, word: str = "image", *, hint: str = HINT, longest: int = 120) -> Iterator[None]:
    """Turn whatever a reader raises into one sentence that names the file.

    Args:
        path: The file.
        word: What it should be, such as `image`; may be empty.
        hint: What to do.
        longest: Letters of the reader's own words.

    Raises:
        DataError: The file cannot be read.
    """
    try:
        yield
    except (SegcliError, Stopped, MemoryError):
        raise
    except FileNotFoundError:
        raise DataError(f"no file `{path}`") from None
    except PermissionError:
        raise DataError(f"no permission to read `{path}`") from None
    except Exception as error:
        detail = " ".join(str(error).split())[:longest] or type(error).__name__
        what = f"{word} `{path}`" if word else f"`{path}`"
        raise DataError(f"cannot read {what} ({detail})", hint=hint) from error


# ---- choosing a format


def _claimed(path: Path, ndim: int) -> type[FileFormat] | None:
    """Choose the format of a folder that is one image."""
    if not path.is_dir():
        return None
    kinds = (FILES.load(each.name) for each in stated_formats() if each.is_folder and ndim in each.axes)
    return next((kind for kind in kinds if kind.claims(path)), None)


def is_picture_folder(path: Path, ndim: int) -> bool:
    """Say whether a folder is one image with so many axes, such as a Zarr array or a DICOM series."""
    return _claimed(path, ndim) is not None


def format_of(path: Path, ndim: int) -> type[FileFormat] | None:
    """Choose the format that opens a file or folder; None for what is no volume.

    Files of other ends than those of the room may be images that Pillow knows.
    """
    folder = _claimed(path, ndim)
    if folder is not None:
        return folder
    return _of_ending(ending_of(path), ndim)


@cache
def _of_ending(ending: str, ndim: int) -> type[FileFormat] | None:
    for each in stated_formats():
        if ending in each.endings and ndim in each.axes and not each.is_folder:
            kind: type[FileFormat] = FILES.load(each.name)
            return kind
    other: type[FileFormat] | None = FILES.load("png") if ndim == 2 else None
    return other


def answer_name(path: Path, ndim: int) -> str:
    """Name the file with the answer to an image: like the image, with an ending of which files can be written."""
    kind = format_of(path, ndim)
    if kind is None:
        return path.name
    if kind.holds_many or (kind.writes and ending_of(path) in kind.endings):
        return path.name
    return f"{stem_of(path)}{kind.endings[0] if kind.writes else kind.answer_ending}"


# ---- opening and creating


def open_picture(path: Path, ndim: int, index: int | None = None) -> Picture:
    """Open an image or a volume; its pixels are not read yet.

    Args:
        path: The file or folder.
        ndim: Spatial axes that are wanted.
        index: Position in a file that holds many.

    Raises:
        DataError: It is missing, damaged, or holds something else.
        ConfigError: The package that reads it is not installed.
    """
    kind = format_of(path, ndim)
    if kind is None:
        known = ", ".join(endings(ndim))
        raise DataError(f"`{path}` is no volume", hint=f"volumes end in {known}; 2D images need a 2D model")
    with reading(path, WORDS[ndim]):
        return kind.open(path, ndim, index)


def read_header(path: Path, ndim: int = 2) -> Header:
    """Read size and channels of a file.

    Raises:
        DataError: It is missing, damaged, or holds something else.
    """
    with open_picture(path, ndim) as picture:
        return Header(picture.size, picture.channels, picture.itemsize, picture.spacing)


@contextmanager
def create(
    path: Path, size: tuple[int, ...], dtype: npt.DTypeLike, *, like: Path | None = None, channels: int = 0
) -> Iterator[Add]:
    """Write a file band by band, which is there whole or not at all; its format follows from its name.

    Args:
        path: The file.
        size: Height and width, or the size of a volume; as many rows or planes are to be added.
        dtype: Type of the values.
        like: File whose geometry the new one has.
        channels: 0 for none.

    Raises:
        DataError: It cannot be written, or `like` cannot be read.
    """
    ending = ending_of(path)
    kind: type[FileFormat] = next(FILES.load(each.name) for each in stated_formats() if ending in each.endings)
    if like is None:
        with kind.create(path, size, dtype, channels=channels) as add:
            yield add
        return
    with (
        open_picture(like, len(size)) as example,
        kind.create(path, size, dtype, like=example, channels=channels) as add,
    ):
        yield add
