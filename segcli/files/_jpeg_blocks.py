"""JPEG files whose data end too early or go on behind the last pixel, although they can be decoded.

A decoder of JPEG goes on behind damaged bytes, at a wrong place. Where it has decoded all pixels before the data end,
or finds too few of them, the file is damaged. To see both, a copy whose header states one more row of blocks is decoded
at an eighth of its size: of a whole file, the data end within the first block of this row, and all others stay grey.

Not seen: damage after which as many blocks as before are decoded.
"""

import io
import re
import struct
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from segcli.core.types import Array
from segcli.files._jpeg_segments import SCAN, segments_of

__all__ = ["ends_in_grey", "fault_of_jpeg", "lacks_rows"]

SEQUENTIAL = (0xC0, 0xC1)
"""Markers of frames whose blocks are stored one after the other."""
RESTARTS = 0xDD
GREY = 128
"""Value of blocks without data."""
MOST_ROWS = 65535
NO_DATA = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]", re.DOTALL)
"""A marker that ends data; those of restarts stand among them."""
EARLY = "its data end before the last pixel"
FILLER = bytes(range(1, 65))
"""Data that would be decoded as further blocks."""


@dataclass(frozen=True, slots=True)
class _Frame:
    """Describes the blocks of a JPEG file."""

    at: int
    """Position of the height in the file."""
    height: int
    width: int
    unit: tuple[int, int]
    """Rows and columns of the pixels that are stored together, in blocks of 8 pixels."""
    restarts: bool = False

    @property
    def rows(self) -> int:
        """Return the rows of units."""
        return -(-self.height // (8 * self.unit[0]))


def fault_of_jpeg(content: bytes) -> str | None:
    """Say what is wrong with the pixels of a JPEG file; None for a whole file, and for one that cannot be told."""
    frame = _frame(content)
    blocks = None if frame is None else _blocks(content, frame)
    if frame is None or blocks is None:
        return None
    first = frame.rows * frame.unit[0]
    further = _is_grey(blocks[first:], frame)
    if not further[1:].all():
        return "its data go on behind the last pixel"
    if not further[0]:
        return None
    # of a whole file, the unit behind the last one has the grey of its last block, unless counting starts anew there
    is_visible = blocks.shape[1] % frame.unit[1] == 0
    end = _end_of_scan(content)
    longer = content[:end] + FILLER + content[end:]
    if is_visible and not frame.restarts and blocks[first - 1, -1] != GREY:
        return None if _are_alike(content, longer) else EARLY  # one in 200 whole files is grey there by chance
    filled = _blocks(longer, frame)
    return EARLY if filled is not None and not np.array_equal(filled[:first], blocks[:first]) else None


def ends_in_grey(pixels: Array) -> bool:
    """Tell whether the last row has the grey of blocks without data, as those of a file that `lacks_rows` have."""
    return bool((pixels[-1] == GREY).all())


def lacks_rows(content: bytes) -> bool:
    """Tell whether the data of a JPEG file end before its last row of blocks; progressive files are not told."""
    return fault_of_jpeg(content) == EARLY


def _end_of_scan(content: bytes) -> int:
    """Find the first marker behind the first data, which may stand before the end of the file."""
    start = next((start for kind, start in segments_of(content) if kind == SCAN), 0)
    found = NO_DATA.search(content, start)
    return len(content) - 2 if found is None else found.start()


def _are_alike(one: bytes, other: bytes) -> bool:
    """Tell whether two files have the same pixels; True where this fails."""
    try:
        first, second = (np.asarray(Image.open(io.BytesIO(each), formats=["JPEG"])) for each in (one, other))
    except OSError:  # reported with the pixels
        return True
    return np.array_equal(first, second)


def _is_grey(blocks: Array, frame: _Frame) -> Array:
    """Tell which units of a row of units have the grey of those without data."""
    grey = np.asarray((blocks == GREY).all(axis=0))
    width = frame.unit[1]
    padded: Array = np.pad(grey, (0, -len(grey) % width), constant_values=True)
    return np.asarray(padded.reshape(-1, width).all(axis=1))


def _frame(content: bytes) -> _Frame | None:
    """Read the sizes in the header; None for a file whose blocks are not stored together in one scan."""
    found, restarts = None, False
    for kind, start in segments_of(content):
        if kind == SCAN:
            if found is None or content[start] != content[found.at + 4]:
                return None
            return replace(found, restarts=restarts)
        restarts = restarts or kind == RESTARTS
        if kind in SEQUENTIAL:
            found = _frame_at(content, start + 1)
            if found is None:
                return None
    return None


def _frame_at(content: bytes, at: int) -> _Frame | None:
    height, width, count = struct.unpack_from(">HHB", content, at)
    factors = [content[at + 6 + 3 * i] for i in range(count)]
    if count not in (1, 3) or not height or height > MOST_ROWS - 64:
        return None
    unit = (1, 1) if count == 1 else (max(each & 15 for each in factors), max(each >> 4 for each in factors))
    return _Frame(at, height, width, unit) if min(unit) >= 1 else None


def _blocks(content: bytes, frame: _Frame) -> Array | None:
    """Decode the brightness of each block `(rows, columns)`, with one more row of units; None where this fails."""
    longer = bytearray(content)
    rows, columns = (frame.rows + 1) * frame.unit[0], -(-frame.width // 8)
    struct.pack_into(">H", longer, frame.at, rows * 8)
    try:
        with Image.open(io.BytesIO(longer), formats=["JPEG"]) as image:
            image.draft("L", (max(frame.width // 8, 1), rows))
            if image.mode != "L" or image.size != (columns, rows):
                return None
            return np.asarray(image)
    except OSError:  # reported with the pixels
        return None
