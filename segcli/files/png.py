"""PNG, JPEG and other images that Pillow can read.

Unlike OpenCV, Pillow refuses a truncated file instead of filling the missing part with grey. Only 16-bit colour
images are decoded by OpenCV, because Pillow would reduce them to 8 bits.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from segcli.core.files import replacing
from segcli.core.registry import FILES
from segcli.core.types import Array
from segcli.files import Add, FileFormat, Picture
from segcli.files._axes import without_alpha
from segcli.files._frames import open_frame
from segcli.files._orientation import of_image, upright

__all__ = ["PNG"]

CHANNELS = {"1": 1, "L": 1, "I": 1, "F": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 3, "YCbCr": 3, "HSV": 3, "LAB": 3}
Image.MAX_IMAGE_PIXELS = None  # gigapixel slides are valid input here, not an attack


class PNG(FileFormat):
    """Reads images with Pillow, and writes PNG."""

    endings = (".png", ".jpg", ".jpeg", ".gif", ".bmp")

    @classmethod
    def open(cls, path: Path, ndim: int, index: int | None = None) -> Picture:
        """Read the header; Pillow decodes the pixels later. A TIFF file of another name is opened as TIFF."""
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
            self.is_deep = _is_deep_colour(image)  # must be read now: loading the pixels loses the coding of the file
            deep = 4 if image.mode in {"I", "F"} else 2 if image.mode.startswith("I;16") or self.is_deep else 1
            channels = _palette_channels(image) if image.mode == "P" else CHANNELS.get(image.mode, 1)
        except BaseException:
            image.close()
            raise
        self.size, self.channels, self.itemsize = (image.height, image.width), without_alpha(channels), deep

    def whole(self) -> Array:
        image = self.image
        image.load()
        if image.mode == "P":
            return _with_channels(np.asarray(image.convert("L" if _palette_channels(image) == 1 else "RGB")))
        return _with_channels(self._values())

    def numbers(self) -> Array:
        """Decode the indices of a colour palette; a grey palette gives grey values: its index 0 may be white."""
        self.image.load()
        if self.image.mode == "P" and _palette_channels(self.image) == 3:
            return np.asarray(self.image)
        return self.whole()

    def _values(self) -> Array:
        image = self.image
        if image.mode == "1":
            return np.asarray(image).astype(np.uint8) * 255
        if self.is_deep:
            return _decode_deep_colour(self.path)
        if image.mode in {"CMYK", "YCbCr", "HSV", "LAB", "PA", "La", "RGBa"}:
            return np.asarray(image.convert("RGB"))
        return np.asarray(image)

    def close(self) -> None:
        self.image.close()


def _with_channels(pixels: Array) -> Array:
    """Convert to `(H, W, C)` without an alpha channel."""
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    return pixels[:, :, : without_alpha(pixels.shape[2])]


def _is_deep_colour(image: Image.Image) -> bool:
    """Tell whether this is a 16-bit colour PNG, which Pillow would reduce to 8 bits."""
    tile = getattr(image, "tile", None)
    return bool(tile) and image.format == "PNG" and image.mode != "I;16" and ";16" in str((tile or [()])[0])


def _decode_deep_colour(path: Path) -> Array:
    pixels: Array | None = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("OpenCV cannot decode it")
    return pixels[..., [2, 1, 0]] if pixels.ndim == 3 else pixels


def _palette_channels(image: Image.Image) -> int:
    palette = np.array(image.getpalette() or [], dtype=np.uint8).reshape(-1, 3)
    return 1 if (palette == palette[:, :1]).all() else 3
