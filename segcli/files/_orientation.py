"""Orientation that a file states, in EXIF or in TIFF tag 274: pixels are turned as a viewer shows them, exactly once.

The numbers are those of EXIF. 1 is upright; 2 to 4 are mirrored or upside down; 5 to 8 also exchange rows and columns.
"""

import re
import struct
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from segcli.core.types import Array
from segcli.files import Picture, Window

__all__ = ["TAG", "as_shown", "of_image", "of_page", "shown_size", "upright"]

TAG = 274
XMP = 700
TURNS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
"""States whether to exchange rows and columns, and then to reverse the rows and the columns."""
UNREADABLE = 0
"""Orientation of a file whose EXIF data are damaged."""
LATE = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")
"""Chunks of a PNG file that may state the orientation."""


# ---- pixels


def as_shown(pixels: Array, orientation: int, axis: int = 0) -> Array:
    """Turn stored pixels upright; an orientation that does not exist turns nothing.

    Args:
        pixels: Pixels as stored.
        orientation: Number that the file states.
        axis: Axis of the rows; the columns are the next one.
    """
    if orientation not in TURNS:
        return pixels
    exchange, *flips = TURNS[orientation]
    pixels = pixels.swapaxes(axis, axis + 1) if exchange else pixels
    return np.ascontiguousarray(np.flip(pixels, tuple(axis + place for place, flip in enumerate(flips) if flip)))


def shown_size(size: tuple[Any, ...], orientation: int) -> tuple[Any, ...]:
    """Exchange the last two entries, rows and columns, if the orientation does."""
    return (*size[:-2], size[-1], size[-2]) if TURNS.get(orientation, (False,))[0] else size


class _Upright(Picture):
    """Turns the pixels of a picture that states another orientation."""

    def __init__(self, picture: Picture, orientation: int) -> None:
        self.picture, self.orientation = picture, orientation
        self.path, self.hint, self.page_count = picture.path, picture.hint, picture.page_count
        self.channels, self.itemsize, self.top = picture.channels, picture.itemsize, picture.top
        self.at_once = picture.at_once
        self.bilevel, self.white_is_zero = picture.bilevel, picture.white_is_zero
        self.has_alpha, self.palette = picture.has_alpha, picture.palette
        self.size = shown_size(picture.size, orientation)
        self.spacing = None if picture.spacing is None else shown_size(picture.spacing, orientation)
        self.rows = len(self.size) - 2
        """Axis of the rows."""

    @property
    def loss(self) -> str | None:
        return self.picture.loss

    @property
    def is_large(self) -> bool:
        """Tell whether the picture should be read in parts."""
        return self.picture.is_large

    def unpack(self, scratch: Path | None) -> None:
        self.picture.unpack(scratch)

    def whole(self) -> Array:
        return as_shown(self.picture.whole(), self.orientation, self.rows)

    def numbers(self) -> Array:
        return as_shown(self.picture.numbers(), self.orientation, self.rows)

    def part(self, window: Window) -> Array:
        flips = (*(False,) * self.rows, *TURNS[self.orientation][1:])
        stored = (
            slice(length - part.stop, length - part.start) if flip else part
            for part, length, flip in zip(window, self.size, flips, strict=True)
        )
        return as_shown(self.picture.part(shown_size(tuple(stored), self.orientation)), self.orientation, self.rows)

    def share_left_out(self) -> float:
        """Compute the share of chunks or tiles that are not stored."""
        return self.picture.share_left_out()

    def close(self) -> None:
        self.picture.close()


def upright(picture: Picture, orientation: int) -> Picture:
    """Make a picture that is turned as its file states, and remembers the stated number."""
    picture.orientation = orientation
    return _Upright(picture, orientation) if orientation in TURNS else picture


# ---- what a file states


def of_page(page: Any) -> int:
    """Read the orientation of a page of a TIFF file, from its tag or else its XMP data; 1 if it states none."""
    tag, xmp = page.tags.get(TAG), page.tags.get(XMP)
    if tag is not None:
        return _number(tag.value)
    stated = re.search(rb'tiff:Orientation(?:="|>)([0-9])', xmp.value) if xmp and isinstance(xmp.value, bytes) else None
    return int(stated[1]) if stated else 1


def of_image(image: Image.Image, path: Path) -> int:
    """Read the orientation of a file that Pillow opened; 1 if it states none.

    Only a PNG file with text after its pixels is decoded for it.

    Raises:
        OSError: The pixels must be decoded for it, and cannot be.
    """
    if image.format == "PNG" and _has_late_text(image, path):
        image.load()
    try:
        return _number(Image.Image.getexif(image).get(TAG, 1))  # that of PNG files would always decode the pixels
    except Exception:  # whatever Pillow raises for damaged EXIF data: viewers show the pixels as they are
        return UNREADABLE


def _number(value: Any) -> int:
    return int(value) if isinstance(value, int) else UNREADABLE


def _has_late_text(image: Image.Image, path: Path) -> bool:
    """Tell whether a PNG file has text or EXIF data after its pixels."""
    stream = getattr(image, "fp", None)
    if stream is None:  # a frame that was decoded
        with path.open("rb") as other:
            return _late_text_in(other)
    at = stream.tell()
    try:
        return _late_text_in(stream)
    finally:
        stream.seek(at)


def _late_text_in(stream: IO[bytes]) -> bool:
    after_pixels = False
    stream.seek(8)
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if after_pixels and kind in LATE:
            return True
        after_pixels = after_pixels or kind == b"IDAT"
        stream.seek(length + 4, 1)
    return False
