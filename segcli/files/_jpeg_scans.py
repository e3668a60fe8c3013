"""Progressive JPEG files whose data are damaged, although they can be decoded.

A decoder of JPEG goes on behind damaged bytes. To store a file anew without loss, as JPEG XL does, all its data must be
understood; that takes ten times as long as to decode them. A copy that Pillow writes with the same tables and
components tells whether it is the file that cannot be stored, or its form.

Not seen: damage that leaves as many numbers as before.
"""

import io
from functools import cache

import imagecodecs
from PIL import Image

from segcli.files._jpeg_segments import segments_of

__all__ = ["fault_of_progressive", "is_progressive"]

PROGRESSIVE = 0xC2
"""Marker of a frame whose numbers are stored in several scans."""


def is_progressive(content: bytes) -> bool:
    """Tell whether the frame of a JPEG file is progressive."""
    return any(kind == PROGRESSIVE for kind, _ in segments_of(content))


def fault_of_progressive(content: bytes) -> str | None:
    """Say what is wrong with the data of a progressive JPEG file; None for a whole file, and if it cannot be told."""
    if not _can_tell() or _is_understood(content):
        return None
    copy = io.BytesIO()
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            image.save(copy, "JPEG", quality="keep", progressive=True)
    except (OSError, ValueError):  # reported with the pixels, or of a form that cannot be told
        return None
    return "its data cannot be understood as a whole" if _is_understood(copy.getvalue()) else None


@cache
def _can_tell() -> bool:
    return bool(imagecodecs.JPEGXL.available)


def _is_understood(content: bytes) -> bool:
    try:
        imagecodecs.jpegxl_encode_jpeg(content)
    except imagecodecs.JpegxlError:
        return False
    return True
