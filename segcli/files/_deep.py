"""Colours of more than 8 bits, which Pillow would reduce to 8: PNG, PPM and JPEG 2000."""

import re
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
from PIL import Image

from segcli.core.errors import DataError
from segcli.core.types import Array
from segcli.files._stored import bits_of_jpeg2000, coding_of

__all__ = ["Deep", "deep_of"]

DEEP_MODES = ("RGB", "RGBA", "LA")
"""Modes that Pillow gives JPEG 2000 files of any number of bits."""
FULL = 65535
COMMENT = re.compile(rb"#[^\n\r]*")


class Deep:
    """Decodes the samples of a file of more than 8 bits in colours, or in grey with another channel.

    Args:
        path: The file.
        image: The file as Pillow opened it, with the pixels not loaded.
        top: Largest number that the file can store, if it is below 65535.
    """

    def __init__(self, path: Path, image: Image.Image, top: int | None) -> None:
        self.path, self.format, self.top = path, str(image.format), top
        tile: Any = (getattr(image, "tile", None) or [("", (), 0, ())])[0]
        self.start, self.is_text = int(tile[2]), tile[0] == "ppm_plain"
        """Position of the samples of a PPM file, and whether they are text."""
        self.shape = (image.height, image.width, 3)

    def numbers(self) -> Array:
        """Decode `(H, W, C)` as stored."""
        if self.format == "PPM":
            return self._ppm(self.path.read_bytes()[self.start :])
        decode = _png if self.format == "PNG" else imagecodecs.jpeg2k_decode
        samples: Array = decode(self.path.read_bytes())
        return samples

    def pixels(self) -> Array:
        """Decode `(H, W, C)` stretched to 16 bits, as Pillow stretches grey images."""
        samples = self.numbers()
        if self.top is None:
            return samples
        if self.format == "PPM":
            stretched: Array = np.rint(samples * (FULL / self.top)).astype(np.uint16)
            return stretched
        shifted: Array = samples << np.uint16(FULL.bit_length() - self.top.bit_length())
        return shifted

    def _ppm(self, content: bytes) -> Array:
        count = int(np.prod(self.shape))
        if self.is_text:
            words = COMMENT.sub(b"", content).split()[:count]
            samples = np.array(words, np.uint16)
        else:
            samples = np.frombuffer(content[: 2 * count], ">u2").astype(np.uint16)
        if samples.size < count:
            raise DataError(f"`{self.path}` is truncated: it ends before its pixels", hint="copy the file again")
        pixels: Array = samples.reshape(self.shape)
        return pixels


def deep_of(path: Path, image: Image.Image, stored: str, top: int | None) -> Deep | None:
    """Make the decoder of a file that Pillow would reduce to 8 bits; None for any other.

    Args:
        path: The file.
        image: The file as Pillow opened it, with the pixels not loaded.
        stored: Coding of the samples in the file, as Pillow names it.
        top: Largest number that the file can store, if it states one below the range of its type.
    """
    is_deep = {
        "PNG": lambda: not image.mode.startswith("I;16") and ";16" in stored,
        "PPM": lambda: image.mode == "RGB" and _largest_of_ppm(image) > 255,
        "JPEG2000": lambda: image.mode in DEEP_MODES and bits_of_jpeg2000(path) > 8,
    }.get(str(image.format))
    return Deep(path, image, top) if is_deep is not None and is_deep() else None


def _largest_of_ppm(image: Image.Image) -> int:
    coding = coding_of(image)
    return int(coding[1]) if isinstance(coding, tuple) else 0


def _png(content: bytes) -> Array:
    pixels: Array | None = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("OpenCV cannot decode it")
    return pixels[..., [2, 1, 0]] if pixels.ndim == 3 else pixels
