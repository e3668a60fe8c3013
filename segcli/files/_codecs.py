"""Faster decoders of plain PNG and JPEG files, which give the pixels of Pillow.

Pillow copies the pixels of a photograph three times before NumPy has them. The decoders here refuse what Pillow
refuses; whatever they refuse is left to Pillow, which says what is wrong with it.
"""

import io
from functools import cache
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
from PIL import Image

from segcli.core.types import Array
from segcli.files._content import content_of
from segcli.files._png_rows import Unpacked, unpacked_png

__all__ = ["decoded", "decoded_png"]

END_OF_JPEG = b"\xff\xd9"
"""Last bytes of a JPEG file; one without them is truncated, and libjpeg would fill up the rest."""
CHANNELS: dict[str, tuple[int, ...]] = {"1": (), "L": (), "RGB": (3,), "RGBA": (3,)}
"""Channels by the modes of Pillow whose pixels are those of the file; alpha of a PNG file does not count."""


def decoded(path: Path, image: Image.Image, stored: str) -> Array | None:
    """Decode the pixels of a plain file, `(H, W)` or `(H, W, 3)` uint8; None for a file that Pillow must decode.

    One bit per pixel is bool.

    Args:
        path: The file.
        image: The file as Pillow opened it, with the pixels not loaded.
        stored: Coding of the samples in the file, as Pillow names it.
    """
    if image.mode not in CHANNELS or "transparency" in image.info or getattr(image, "n_frames", 1) > 1:
        return None
    size = image.height, image.width
    if image.format == "PNG" and stored == image.mode:
        return decoded_png(content_of(path), image.mode, size)
    if image.format == "JPEG" and _jpeg_is_that_of_pillow():
        return _fitting(_jpeg(content_of(path)), image.mode, size)
    return None


def decoded_png(content: bytes, mode: str, size: tuple[int, int]) -> Array | None:
    """Decode the pixels of a plain PNG file like `decoded`; None for a file that Pillow must decode.

    Args:
        content: The bytes of the file.
        mode: The mode that Pillow gives it, which is that of its samples.
        size: Height and width.
    """
    return _fitting(_png(content, mode), mode, size)


def _fitting(pixels: Array | None, mode: str, size: tuple[int, int]) -> Array | None:
    """Leave out alpha; return None for pixels of another size than the header states."""
    if pixels is not None and mode == "RGBA" and pixels.shape[2:] == (4,):
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB)
    shape, kind = (*size, *CHANNELS[mode]), np.bool_ if mode == "1" else np.uint8
    return pixels if pixels is not None and pixels.shape == shape and pixels.dtype == kind else None


def _png(content: bytes, mode: str) -> Array | None:
    unpacked = unpacked_png(content)
    single = None if unpacked is None else unpacked.of_equal_colours()
    if single is None:
        return _unfiltered(unpacked, content, mode)
    grey = _unfiltered(single, content, "L")
    return None if grey is None else cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)


def _unfiltered(unpacked: Unpacked | None, content: bytes, mode: str) -> Array | None:
    grey = None if unpacked is None else unpacked.grey()
    if grey is not None or mode == "1":
        return grey
    copied = None if unpacked is None else unpacked.as_file()
    # libpng sums up grey rows faster, and changes no pixel of a file without gamma and colours
    decode = imagecodecs.png_decode if mode == "L" and copied is not None else imagecodecs.spng_decode
    try:
        pixels: Array = decode(content if copied is None else copied)
    except Exception:  # whatever it raises for a damaged file, Pillow tells it
        return None
    return pixels


def _jpeg(content: bytes) -> Array | None:
    if content[-2:] != END_OF_JPEG:
        return None
    try:
        pixels: Array = imagecodecs.jpeg8_decode(content)
    except Exception:  # whatever it raises for a damaged file, Pillow tells it
        return None
    return pixels


@cache
def _jpeg_is_that_of_pillow() -> bool:
    """Tell whether both decode to the same bits, which depends on the versions of libjpeg that they were built with."""
    noise = np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    noise[:20, :30] //= 4
    kinds = [(noise, {"subsampling": number, "progressive": number == 2}) for number in range(3)]
    for pixels, options in [*kinds, (noise[..., 0], {})]:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=90, **options)
        found = _jpeg(stream.getvalue())
        if found is None or not np.array_equal(found, np.asarray(Image.open(stream))):
            return False
    return True
