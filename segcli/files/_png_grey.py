"""Decoder of 8-bit grey PNG files, as most masks are, without the detours of a general decoder.

Large areas of one value unpack at the speed of memory, and rows that are stored as differences are summed up together.
"""

import struct
from itertools import pairwise

import cv2
import imagecodecs
import numpy as np

from segcli.core.types import Array

__all__ = ["grey_png"]

HEAD = struct.Struct(">8sI4sIIBBBBB")
PLAIN = (8, 0, 0, 0, 0)
"""Eight bits, grey, deflate, the five usual filters, not interlaced."""
PLAIN_FILTERS = 2
"""Rows as they are (0), differences from the pixel to the left (1) and from the row above (2) are decoded here."""


def grey_png(content: bytes) -> Array | None:
    """Decode `(H, W)` uint8; None for a file of another kind, with other filters, or that is damaged."""
    if len(content) < HEAD.size:
        return None
    _, _, _, width, height, *kind = HEAD.unpack_from(content)
    size = height * (width + 1)
    packed = _image_data(content)
    if tuple(kind) != PLAIN or packed is None:
        return None
    try:
        stored = imagecodecs.deflate_decode(packed, out=size)  # compares the checksum
    except Exception:  # whatever it raises for a damaged file, another decoder tells it
        return None
    if len(stored) != size:
        return None
    rows = np.frombuffer(stored, np.uint8).reshape(height, width + 1)
    filters = rows[:, 0]
    return _unfiltered(rows[:, 1:].copy(), filters) if filters.max() <= PLAIN_FILTERS else None


def _image_data(content: bytes) -> bytes | None:
    """Return the compressed pixels; None if the file does not go on to its end."""
    parts, at = [], 8
    while at + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        if kind == b"IDAT":
            parts.append(content[at + 8 : at + 8 + length])
        if kind == b"IEND":
            return b"".join(parts)
        at += length + 12
    return None


def _unfiltered(pixels: Array, filters: Array) -> Array:
    """Sum up the differences in place."""
    across = np.flatnonzero(filters == 1)
    if across.size:
        columns = cv2.transpose(pixels[across])
        for before, column in pairwise(columns):
            np.add(column, before, out=column)
        pixels[across] = cv2.transpose(columns)
    for row in np.flatnonzero(filters == 2):
        if row:
            np.add(pixels[row], pixels[row - 1], out=pixels[row])
    return pixels
