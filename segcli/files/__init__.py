"""File formats that read and write pixels, one file each. This file holds their common interface.

The extension of a file, or the content of a folder, decides the format. Only the module of that format is imported.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import numpy.typing as npt

from segcli.core.errors import DataError, SegcliError
from segcli.core.free_memory import TOO_LARGE, refuse_more_than_free
from segcli.core.platform import is_pipe
from segcli.core.registry import FILES
from segcli.core.types import Array
from segcli.files._endings import ending_of, endings, misfit, other_volume, stated_formats, stem_of
from segcli.files._header import Header, once

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
    "header_of",
    "is_picture_folder",
    "open_picture",
    "other_volume",
    "read_header",
    "reading",
    "stem_of",
]

LARGE = 2**26
"""Images with at least this many pixels are read in parts, and their predictions are written in tiles."""
KEPT = 2**27
"""Bytes of decoded tiles to cache, because windows overlap; twice as many for stacks and HDF5 files."""
HINT = "replace the file, or remove it from the data set"
WORDS = {2: "image", 3: "volume"}
FIELDS = [each.name for each in fields(Header) if each.name != "has_palette"]
Window = tuple[slice, ...]
Add = Callable[[Array], None]
"""Adds the next rows of an image, or the next planes `(d, *S)` or `(d, *S, C)` of a volume."""


class Picture(ABC):
    """Reads an image or a volume from the disk: its header, and its pixels as a whole or in parts.

    A format implements `whole`, and `part` if it can read parts separately. `read` turns their errors into messages.
    """

    path: Path
    size: tuple[int, ...]
    """Spatial size, upright: height and width, or that of a volume."""
    channels: int
    """Channels as stored, without a declared alpha channel."""
    itemsize: int
    """Bytes per value."""
    at_once: int = 0
    """Bytes of the largest chunk or tile that is unpacked as a whole; 0 if it is not larger than the read part."""
    bilevel: bool = False
    """True for one bit per pixel."""
    white_is_zero: bool = False
    """True if the file declares that 0 is white and a larger number is black."""
    has_alpha: bool = False
    """True if the file declares an alpha channel, which is left out."""
    palette: Array | None = None
    """Colours `(N, 3)` uint8 of the indices that `read_labels` gives; None without a palette of colours."""
    top: int | None = None
    """Largest number that the file can store, if it states one below the range of its type: 3 for two bits."""
    spacing: tuple[float, ...] | None = None
    """Millimetres between pixels along each axis; None if the file does not store them."""
    orientation: int = 1
    """Orientation that the file states, in the numbers of EXIF; it is applied already."""
    page_count: int = 1
    """Pages or frames of a 2D file."""
    grid: "Grid | None" = None
    """Geometry in patient space; None if the file does not store it."""
    hint: str = HINT
    """Hint for a damaged file."""

    @property
    def loss(self) -> str | None:
        """Name the compression that changes values, such as `JPEG`; None for exact values. Only masks look it up."""
        return None

    @property
    def has_many_pixels(self) -> bool:
        """Tell whether the image may be too large to be read as a whole."""
        return math.prod(self.size) >= LARGE

    @property
    def is_large(self) -> bool:
        """Tell whether the image should be read in parts; False for formats that can only read the whole."""
        return False

    def prepare(self, scratch: Path | None) -> None:
        """Unpack compressed or multi-file images to the disk, so that parts can be read.

        Args:
            scratch: Folder for the unpacked pixels; None means the temporary folder of the system.

        Raises:
            DataError: The file is damaged.
        """
        with reading(self.path, WORDS[len(self.size)], hint=self.hint):
            self.unpack(scratch)

    def read(self, window: Window | None = None) -> Array:
        """Read the pixels `(*S, C)` of a window of the image, or all pixels; one bit becomes 0 and 255.

        Raises:
            DataError: The pixels cannot be decoded.
        """
        with self._reading(window):
            pixels = self._plain(self.whole() if window is None else self.part(window))
            return pixels.astype(np.uint8) * np.uint8(255) if pixels.dtype == bool else pixels

    def read_labels(self) -> Array:
        """Read numbers as stored, `(*S)` or `(*S, C)`: the indices of a palette, bool for one bit per pixel.

        Raises:
            DataError: The pixels cannot be decoded.
        """
        with self._reading(None):
            return self._plain(self.numbers())

    @contextmanager
    def _reading(self, window: Window | None) -> Iterator[None]:
        """Read within the free memory, and turn errors into messages."""
        taken = self.size if window is None else tuple(len(range(*part.indices(10**12))) for part in window)
        refuse_more_than_free(self.path, (*taken, self.channels), self.itemsize)
        refuse_more_than_free(self.path, (self.at_once,), 1)
        with reading(self.path, WORDS[len(self.size)], hint=self.hint):
            yield

    def _plain(self, values: Array) -> Array:
        if values.dtype.kind not in "buif":
            raise DataError(f"`{self.path}` holds {values.dtype} values, but it must hold numbers", hint=self.hint)
        return values

    @abstractmethod
    def whole(self) -> Array:
        """Decode all pixels `(*S, C)`."""

    def part(self, window: Window) -> Array:
        """Decode the pixels `(*window, C)` of a window."""
        return self.whole()[window]

    def unpack(self, scratch: Path | None) -> None:
        """Unpack pixels for `prepare`; formats that can read parts directly do nothing."""
        return

    def numbers(self) -> Array:
        """Decode numbers as stored."""
        return self.whole()

    def share_left_out(self) -> float:
        """Compute the share of chunks that the writer left out, and that are read as one value."""
        return 0.0

    def close(self) -> None:
        """Close the file."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class FileFormat(ABC):
    """Opens and writes the files of one format.

    The first five values are read without importing the module, so they must be literals.
    """

    endings: ClassVar[tuple[str, ...]] = ()
    """File extensions, in lower case."""
    listed: ClassVar[tuple[str, ...] | None] = None
    """Extensions of files to take from a folder; None means all."""
    axes: ClassVar[tuple[int, ...]] = (2,)
    """Numbers of spatial axes: 2 for images, 3 for volumes."""
    is_folder: ClassVar[bool] = False
    """An image is a folder, which `claims` recognises."""
    holds_many: ClassVar[bool] = False
    """A file can hold many images, which `members` names."""
    writes: ClassVar[bool] = True
    """`create` can write files of one image."""
    answer_ending: ClassVar[str] = ".tif"
    """Extension of predictions if this format cannot be written."""
    keeps_grid: ClassVar[bool] = False
    """Files store the geometry in patient space, so that probabilities are written as NIfTI with it."""
    may_leave_out: ClassVar[bool] = False
    """Writers may leave out chunks or tiles, which are then read as one value."""

    @classmethod
    def claims(cls, folder: Path) -> bool:
        """Tell whether a folder is one image of this format."""
        return False

    @classmethod
    def members(cls, path: Path) -> list[str] | None:
        """Name the images of a file that holds many; None for formats with one image per file.

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
            ndim: Number of spatial axes, one of `axes`.
            index: Position in a file of many images, or page of a 2D file of several pages.
        """

    @classmethod
    def create(
        cls, path: Path, size: tuple[int, ...], dtype: npt.DTypeLike, *, like: Picture | None = None, channels: int = 0
    ) -> AbstractContextManager[Add]:
        """Write a file band by band; an incomplete file is never left.

        Args:
            path: The file.
            size: Spatial size; exactly this many rows or planes must be added.
            dtype: Type of the values.
            like: Image whose geometry is copied.
            channels: Number of channels; 0 for no channel axis.

        Raises:
            DataError: The file cannot be written.
        """
        raise NotImplementedError(f"{cls.__name__} files cannot be written")


# ---- the only error boundary around readers


@contextmanager
def reading(path: Path, word: str = "image", *, hint: str = HINT, longest: int = 120) -> Iterator[None]:
    """Turn any error of a reader into one message that names the file.

    Args:
        path: The file.
        word: Word for the file, such as `image`; may be empty.
        hint: Hint of the message.
        longest: Largest number of characters to quote from the reader.

    Raises:
        DataError: The file cannot be read.
    """
    if is_pipe(path):
        raise DataError(f"`{path}` is a named pipe, not a file", hint=hint)
    try:
        yield
    except SegcliError:
        raise
    except MemoryError as error:
        raise DataError(f"the memory is too small to read `{path}`", hint=TOO_LARGE) from error
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
    """Tell whether a folder is one image with `ndim` axes, such as a Zarr array or a DICOM series."""
    return _claimed(path, ndim) is not None


def format_of(path: Path, ndim: int) -> type[FileFormat] | None:
    """Choose the format that opens a file or folder; None if it has another number of axes.

    2D files with an unknown extension may be images that Pillow can read.
    """
    return _claimed(path, ndim) or _of_ending(ending_of(path), ndim)


@cache
def _of_ending(ending: str, ndim: int) -> type[FileFormat] | None:
    for each in stated_formats():
        if ending in each.endings and ndim in each.axes and not each.is_folder:
            kind: type[FileFormat] = FILES.load(each.name)
            return kind
    is_of_volumes = any(ending in each.endings and ndim not in each.axes for each in stated_formats())
    other: type[FileFormat] | None = FILES.load("png") if ndim == 2 and not is_of_volumes else None
    return other


def answer_name(path: Path, ndim: int) -> str:
    """Name the prediction after its image, with an extension that can be written."""
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
        ndim: Number of spatial axes.
        index: Position in a file of many images, or page of a 2D file of several pages.

    Raises:
        DataError: The file is missing, damaged, or holds something else.
        ConfigError: The package that reads it is not installed.
    """
    kind = format_of(path, ndim)
    if kind is None:
        raise misfit(path, ndim)
    with reading(path, WORDS[ndim]):
        picture = kind.open(path, ndim, index)
    if min(picture.size) < 1:
        picture.close()
        raise DataError(f"`{path}` holds no pixels: its size is {'x'.join(map(str, picture.size))}", hint=HINT)
    return picture


def read_header(path: Path, ndim: int = 2, index: int | None = None) -> Header:
    """Read size and channels of a file.

    Raises:
        DataError: The file is missing, damaged, or holds something else.
    """
    with open_picture(path, ndim, index) as picture:
        return header_of(picture)


def header_of(picture: Picture) -> Header:
    """Take what the header of an open file says; headers of the same content are one object."""
    header = Header(**{name: getattr(picture, name) for name in FIELDS}, has_palette=picture.palette is not None)
    return header if header.grid is not None else once(header)


@contextmanager
def create(
    path: Path, size: tuple[int, ...], dtype: npt.DTypeLike, *, like: Path | None = None, channels: int = 0
) -> Iterator[Add]:
    """Write a file band by band in the format of its name; an incomplete file is never left.

    Args:
        path: The file.
        size: Height and width, or the size of a volume; exactly this many rows or planes must be added.
        dtype: Type of the values.
        like: File whose geometry is copied.
        channels: Number of channels; 0 for no channel axis.

    Raises:
        DataError: The file cannot be written, or `like` cannot be read.
    """
    ending = ending_of(path)
    kind: type[FileFormat] = next(FILES.load(each.name) for each in stated_formats() if ending in each.endings)
    opened: AbstractContextManager[Picture | None] = nullcontext() if like is None else open_picture(like, len(size))
    with opened as example, kind.create(path, size, dtype, like=example, channels=channels) as add:
        yield add
