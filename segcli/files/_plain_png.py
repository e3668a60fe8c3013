"""Decodes plain PNG files with OpenCV: the same numbers as Pillow's, in less time.

OpenCV reads only files that are whole: every chunk has its checksum, and the last one ends the file. All others are
left to Pillow, which says what is wrong with them.
"""

import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from segcli.core.types import Array

__all__ = ["plain_png"]

KINDS: dict[str, tuple[int, int | None, tuple[int, ...]]] = {
    "L": (0, None, ()),
    "RGB": (2, cv2.COLOR_BGR2RGB, (3,)),
    "RGBA": (6, cv2.COLOR_BGRA2RGB, (4,)),
}
"""Number of the colour type in the header, conversion from the order of OpenCV, and channels, by mode of Pillow."""
SIGNATURE = b"\x89PNG\r\n\x1a\n"
SPECIAL = (b"tRNS", b"acTL")
"""Chunks of transparent colours and of animations, which OpenCV reads in another way."""
MOST = 2**26
"""Images with more pixels are left to Pillow: the whole file would be held beside them."""


def plain_png(path: Path, image: Image.Image) -> Array | None:
    """Decode a PNG file with 8 bits of grey, RGB or RGBA, `(H, W, C)` without alpha; None for all others.

    Args:
        path: The file.
        image: The file as opened by Pillow.
    """
    if image.format != "PNG" or image.mode not in KINDS or image.width * image.height > MOST:
        return None
    number, conversion, channels = KINDS[image.mode]
    content = path.read_bytes()
    if not _is_plain(content, number):
        return None
    pixels: Array | None = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint8 or pixels.shape != (image.height, image.width, *channels):
        return None
    if conversion is None:
        return pixels[:, :, None]
    rgb: Array = cv2.cvtColor(pixels, conversion)
    return rgb


def _is_plain(content: bytes, number: int) -> bool:
    """Tell whether a file has 8 bits and a colour type, is not interlaced, and is whole."""
    if content[:8] != SIGNATURE or content[12:16] != b"IHDR" or content[24:29] != bytes((8, number, 0, 0, 0)):
        return False
    at, view = len(SIGNATURE), memoryview(content)
    while at + 12 <= len(content):
        kind, end = content[at + 4 : at + 8], at + 8 + int.from_bytes(content[at : at + 4], "big")
        if kind in SPECIAL or zlib.crc32(view[at + 4 : end]) != int.from_bytes(content[end : end + 4], "big"):
            return False
        if kind == b"IEND":
            return True
        at = end + 4
    return False
