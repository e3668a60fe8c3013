"""Pixels of 2D images and masks, from files of any supported format."""

import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from segcli.core.errors import DataError
from segcli.core.names import composed
from segcli.core.process import is_command_line
from segcli.core.types import Array
from segcli.data.whole_numbers import whole
from segcli.files import Header, Picture, endings, header_of, open_picture
from segcli.files._losses import refuse_changed

__all__ = [
    "EXTENSIONS",
    "Headers",
    "Marks",
    "as_rgb",
    "common_channel",
    "natural_key",
    "read_image",
    "read_labels",
    "read_marks",
    "read_voxels",
    "supported",
]

if is_command_line():
    cv2.setNumThreads(0)  # several images are read at once in any case
EXTENSIONS = tuple(ending.removeprefix(".") for ending in endings(2))
"""File extensions of images."""
DARK = 64
"""8-bit images with fewer than 0.5 % of their values from here on are brightened for people."""
BRIGHTENED = 8.0
"""Largest factor by which dark images are brightened."""


def natural_key(path: Path) -> list[str | int]:
    """Make a sorting key that puts `img2` before `img10`: texts, and the numbers between them.

    Example:
        >>> natural_key(Path("img2.png")) < natural_key(Path("img10.png"))
        True
    """
    key: list[str | int] = [*re.split(r"(\d+)", composed(path.name).lower())]
    key[1::2] = map(int, key[1::2])
    return key


Headers = dict[Path, Header]
"""Headers of files by their path."""


def read_image(path: Path, page: int | None = None, headers: Headers | None = None) -> Array:
    """Read pixels `(H, W, C)` upright, without a declared alpha channel, in RGB order: uint8, uint16 or float32.

    Args:
        path: The file.
        page: Page to read of a file of several pages, counted from 0.
        headers: Receives the header of the file.

    Raises:
        DataError: The file is missing, damaged or not an image.
    """
    with open_picture(path, 2, page) as picture:
        _note(picture, path, headers)
        return np.ascontiguousarray(supported(picture.read(), path))


@dataclass(frozen=True)
class Marks:
    """Holds the numbers of a label image."""

    values: Array
    """Integers as stored, `(H, W)`, upright; bool for one bit per pixel; indices of a palette."""
    top: int | None = None
    """Largest number that the file can store, if it states one below the range of its type."""
    loss: str | None = None
    """Compression that changes numbers, such as `JPEG`; None for exact numbers."""
    palette: Array | None = None
    """Colours `(N, 3)` of the numbers, if the file has a palette."""

    @property
    def spread(self) -> Array:
        """Return the values; those of 2 to 7 bits as 0 to 255, unless they are only 0 and 1."""
        if self.top is None or not 1 < self.top < 255 or self.values.max(initial=0) <= 1:
            return self.values
        return (self.values.astype(np.uint16) * np.uint16(255) // np.uint16(self.top)).astype(np.uint8)


def _note(picture: Picture, path: Path, headers: Headers | None) -> None:
    if headers is not None:
        headers[path] = header_of(picture)


def read_marks(path: Path, page: int | None = None, headers: Headers | None = None) -> Marks:
    """Read a label image upright, with the numbers that its writer stored.

    Args:
        path: The file.
        page: Page to read of a file of several pages, counted from 0.
        headers: Receives the header of the file.

    Raises:
        DataError: The file is missing, damaged, or its colour channels differ.
    """
    with open_picture(path, 2, page) as picture:
        _note(picture, path, headers)
        pixels, top, loss, palette = picture.read_labels(), picture.top, picture.loss, picture.palette
    if pixels.ndim == 3:
        grey = common_channel(pixels)
        if grey is None:
            raise DataError(
                f"label `{path}` is a colour image, but a mask has one value per pixel",
                hint="save the mask as a grey image with 0 for background and 255 for foreground",
            )
        pixels = grey
    return Marks(np.ascontiguousarray(whole(pixels, f"label `{path}`")), top, loss, palette)


def common_channel(pixels: Array) -> Array | None:
    """Return the values of all channels of `(H, W, C)`; None if they differ."""
    if pixels.dtype in (np.uint8, np.uint16):
        first, *others = cv2.split(pixels)  # much faster than the slices of NumPy
    else:
        first, *others = (np.ascontiguousarray(pixels[:, :, channel]) for channel in range(pixels.shape[2]))
    return first if all(np.array_equal(first, other) for other in others) else None


def read_labels(path: Path, page: int | None = None) -> Array:
    """Read a label image `(H, W)` of integers as stored, upright; one bit is 0 and 1.

    Args:
        path: The file.
        page: Page to read of a file of several pages, counted from 0.

    Raises:
        DataError: The file is missing, damaged, or its colour channels differ.
    """
    marks = read_marks(path, page).values
    return marks.astype(np.uint8) if marks.dtype == bool else marks


def read_voxels(path: Path, *, labels: bool = False) -> Array:
    """Read the voxels `(*S, C)` of a volume as stored, in the order of axes of its format.

    Args:
        path: The file or folder.
        labels: Read the numbers of a mask; one bit is 0 and 1.

    Raises:
        DataError: The file is missing, damaged or not a volume.
    """
    with open_picture(path, 3) as picture:
        if not labels:
            return picture.read()
        numbers, loss = picture.read_labels(), picture.loss
    refuse_changed(path, numbers, loss)
    return numbers.astype(np.uint8) if numbers.dtype == bool else numbers


def as_rgb(image: Array) -> Array:
    """Turn an image `(H, W, C)` into 8-bit RGB for people to look at.

    If it is not 8-bit, its 0.5 to 99.5 percentile is stretched to the range.
    8-bit images that are almost black, such as those of fluorescence, are brightened.
    """
    pixels = image[:, :, :3] if image.shape[2] >= 3 else np.repeat(image[:, :, :1], 3, axis=2)
    if pixels.dtype == np.uint8:
        return _brightened(pixels)
    low, high = np.percentile(pixels, [0.5, 99.5])
    unit = np.clip((pixels.astype(np.float32) - low) / max(float(high - low), 1e-6), 0.0, 1.0)
    return np.asarray(unit * 255, dtype=np.uint8)


def _brightened(pixels: Array) -> Array:
    """Copy 8-bit pixels; those of an image almost without any that reach `DARK` are multiplied."""
    if np.count_nonzero(pixels >= DARK) >= 0.005 * pixels.size:
        return np.array(pixels)
    gain = min(255 / max(float(np.percentile(pixels, 99.5)), 1.0), BRIGHTENED)
    return np.asarray(np.clip(pixels * gain, 0, 255), dtype=np.uint8)


def supported(pixels: Array, path: Path) -> Array:
    """Convert pixels to uint8, uint16 or float32.

    Raises:
        DataError: The pixels have another type of number.
    """
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels
    if pixels.dtype.kind == "f":
        return pixels.astype(np.float32)
    if pixels.dtype.kind in "iu" and pixels.min() >= 0 and pixels.max() <= 65535:
        return pixels.astype(np.uint16)
    raise DataError(
        f"`{path}` holds {pixels.dtype} values from {pixels.min()} to {pixels.max()}",
        hint="save it as 8-bit or 16-bit integers, or as 32-bit floating point",
    )
