"""PNG, JPEG and other images that Pillow can read.

Unlike OpenCV, Pillow refuses a truncated file instead of filling the missing part with grey. Only colours of more than
8 bits are decoded elsewhere, because Pillow would reduce them (`segcli/files/_deep.py`), and plain files by faster
decoders that refuse the same files (`segcli/files/_codecs.py`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from segcli.core.errors import DataError
from segcli.core.files import replacing
from segcli.core.registry import FILES
from segcli.core.types import Array
from segcli.files import Add, FileFormat, Picture
from segcli.files._codecs import decoded
from segcli.files._colours import PillowColours
from segcli.files._content import content_of, small_or_held
from segcli.files._frames import open_frame
from segcli.files._jpeg_blocks import ends_in_grey
from segcli.files._jpeg_blocks import lacks_rows as lacks_rows_of_jpeg
from segcli.files._orientation import of_image, upright
from segcli.files._png_plain import PlainPNG, mode_of_plain
from segcli.files._png_whole import lacks_rows as lacks_rows_of_png
from segcli.files._promises import refuse_more_than_stored

__all__ = ["PNG"]

Image.MAX_IMAGE_PIXELS = None  # gigapixel slides are valid input here, not an attack


class PNG(FileFormat):
    """Reads images with Pillow, and writes PNG."""

    endings = (".png", ".jpg", ".jpeg", ".gif", ".bmp")

    @classmethod
    def open(cls, path: Path, ndim: int, index: int | None = None) -> Picture:
        """Read the header; the pixels are decoded later. A TIFF file of another name is opened as TIFF."""
        content = small_or_held(path)
        if content is not None and (mode := mode_of_plain(content)) is not None:
            return PlainPNG(path, content, mode, lambda: _Decoded(path, index))
        picture = _Decoded(path, index)
        try:
            if picture.image.format != "TIFF":
                return upright(picture, of_image(picture.image, path))
        except BaseException:
            picture.close()
            raise
        picture.close()
        tiff: Picture = FILES.load("tiff").open(path, ndim, index)
        return tiff

    @staticmethod
    def write(path: Path, pixels: Array, *, synced: bool = True) -> None:
        """Write uint8 or uint16 pixels, `(H, W)` or RGB `(H, W, 3)`; an incomplete file is never left.

        Args:
            path: The file.
            pixels: The pixels.
            synced: Wait until the file is on the disk.
        """
        if pixels.ndim == 3:
            pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        done, buffer = cv2.imencode(".png", pixels)
        assert done
        with replacing(path, synced=synced) as temporary:
            temporary.write_bytes(buffer.tobytes())

    @classmethod
    @contextmanager
    def create(
        cls, path: Path, size: tuple[int, ...], dtype: npt.DTypeLike, *, like: Picture | None = None, channels: int = 0
    ) -> Iterator[Add]:
        """Collect the rows, then compress the whole image."""
        rows: list[Array] = []
        yield rows.append
        cls.write(path, np.concatenate(rows).astype(dtype, copy=False))


class _Decoded(Picture):
    """Reads a file that Pillow opened."""

    def __init__(self, path: Path, index: int | None) -> None:
        self.path = path
        self.image, self.page_count = image, _ = open_frame(path, index)
        try:
            refuse_more_than_stored(path, image)
            self.colours = colours = PillowColours(path, image)
        except BaseException:
            image.close()
            raise
        self.size, self.channels = (image.height, image.width), colours.channels
        is_wide = image.mode == "F" or (image.mode == "I" and image.format != "PPM")
        self.itemsize = 4 if is_wide else 2 if image.mode[0] == "I" or colours.deep is not None else 1
        self.bilevel, self.white_is_zero = colours.bilevel, colours.white_is_zero
        self.has_alpha, self.top = colours.has_alpha, colours.top
        self.palette = colours.palette

    @property
    def loss(self) -> str | None:
        return self.colours.loss

    def whole(self) -> Array:
        return self._decoded(self.colours.pixels)

    def numbers(self) -> Array:
        """Decode the numbers that the writer stored, such as the indices of a palette."""
        return self._decoded(self.colours.numbers)

    def _decoded(self, by_pillow: Callable[[], Array]) -> Array:
        pixels = decoded(self.path, self.image, self.colours.stored)
        if pixels is None:
            self.image.load()
            if self.image.format == "PNG" and _ends_in_zeros(self.image):
                self._refuse_cut(lacks_rows_of_png)
            pixels = by_pillow()
        if self.image.format == "JPEG" and ends_in_grey(pixels):
            self._refuse_cut(lacks_rows_of_jpeg)
        return _with_channels(pixels)

    def _refuse_cut(self, lacks_rows: Callable[[bytes], bool]) -> None:
        """Refuse a file whose missing rows a decoder filled up.

        Args:
            lacks_rows: Tells from the bytes of the file, which are read for that, whether it ends early.

        Raises:
            DataError: The file ends before its last row.
        """
        if lacks_rows(content_of(self.path)):
            raise DataError(f"`{self.path}` is truncated: it ends before its last row", hint="copy the file again")

    def close(self) -> None:
        self.image.close()


def _ends_in_zeros(image: Image.Image) -> bool:
    """Tell whether one of the last two rows holds only 0; one of them is the last row of an interlaced file."""
    rows = np.asarray(image.crop((0, max(image.height - 2, 0), image.width, image.height)))
    return not rows.reshape(len(rows), -1).any(axis=1).all()


def _with_channels(pixels: Array) -> Array:
    """Convert to `(H, W, C)`."""
    return pixels[:, :, None] if pixels.ndim == 2 else pixels
