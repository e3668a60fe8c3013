"""Facts about stored samples that Pillow does not tell: their range, their losses, and alpha by declaration."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segcli.files._losses import CODESTREAM, loss_of_jpeg2000, loss_of_webp

__all__ = ["bits_of_jpeg2000", "coding_of", "declares_alpha", "largest", "loss_of"]

ALPHA_MODES = {"LA", "La", "PA", "RGBA", "RGBa"}
LOSSY = {"JPEG": "JPEG", "MPO": "JPEG", "AVIF": "AVIF"}
"""Formats of Pillow whose files change values, and their names."""
JUDGES = {"WEBP": loss_of_webp, "JPEG2000": loss_of_jpeg2000}
"""Formats whose code tells whether it changes values."""
BITS = {"L;2": 2, "L;4": 4}
BMP_RAMP = np.arange(16, dtype=np.uint8).repeat(3) * np.uint8(17)
"""Palette of a grey BMP file of 4 bits."""
SUPERBOX = b"jp2h"
"""Box of a JPEG 2000 file that holds other boxes."""
IS_ALPHA = (1, 2)
"""Types of a channel in the box `cdef`: opacity, and opacity with premultiplied colours."""


def coding_of(image: Image.Image) -> Any:
    """Return the coding of the samples as Pillow names it: `L;4`, a tuple with numbers, or empty."""
    tile: Any = getattr(image, "tile", None) or [()]
    return tile[0][-1] if len(tile[0]) else ""


def largest(image: Image.Image, path: Path) -> int | None:
    """Return the largest number that samples can have, if it is below the range of their type.

    Pillow stretches the samples of such files to the range of their type.
    """
    coding = coding_of(image)
    if (
        image.format == "PPM"
        and isinstance(coding, tuple)
        and (image.mode in ("L", "I") or (image.mode == "RGB" and coding[1] > 255))
        and coding[1] not in (255, 65535)
    ):
        return int(coding[1])
    if image.format == "JPEG2000":
        bits = bits_of_jpeg2000(path)
        is_grey = image.mode in ("L", "I;16")
        return 2**bits - 1 if bits not in (8, 16) and (is_grey or bits > 8) else None
    if image.format == "BMP" and image.mode == "P" and bytes(image.getpalette() or []) == BMP_RAMP.tobytes():
        return 15
    return 2 ** BITS[str(coding)] - 1 if str(coding) in BITS else None


def loss_of(image: Image.Image, path: Path) -> str | None:
    """Name the compression that changes values; None if values are exact."""
    judge = JUDGES.get(str(image.format))
    return LOSSY.get(str(image.format)) if judge is None else judge(path.read_bytes())


def declares_alpha(image: Image.Image, path: Path) -> bool:
    """Tell whether the file declares an alpha channel; of JPEG 2000, Pillow only counts the channels."""
    if image.mode not in ALPHA_MODES:
        return False
    return image.format != "JPEG2000" or any(kind in IS_ALPHA for kind in _kinds_of_jpeg2000(path))


def _kinds_of_jpeg2000(path: Path) -> list[int]:
    """Return the types of the channels that the box `cdef` describes; none without that box."""
    body = _boxes(path).get(b"cdef", b"")[2:]
    return [kind for _, kind, _ in struct.iter_unpack(">HHH", body[: len(body) // 6 * 6])]


def bits_of_jpeg2000(path: Path) -> int:
    """Return the bits of a sample of the first channel."""
    data = path.read_bytes()
    at = data.find(CODESTREAM)
    return (data[at + 42] & 0x7F) + 1 if 0 <= at < len(data) - 42 else 8


def _boxes(path: Path) -> dict[bytes, bytes]:
    """Return the boxes of the header of a JPEG 2000 file."""
    data, at, found = path.read_bytes(), 0, {}
    while at + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        if kind == SUPERBOX:
            at += 8
            continue
        if length < 8:
            break
        found[kind] = data[at + 8 : at + length]
        at += length
    return found
