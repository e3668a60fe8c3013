"""Decoder of plain PNG files, such as masks of 8 bits or one, without the detours of a general decoder.

The pixels are unpacked by libdeflate. Of grey files, rows that are stored as differences are summed up together here;
another decoder sums up those of other files, from a copy of the file whose pixels are not packed.
"""

import struct
from dataclasses import dataclass
from itertools import pairwise

import cv2
import imagecodecs
import numpy as np

from segcli.core.checksums import adler32, crc32
from segcli.core.types import Array
from segcli.files._png_chunks import HEAD, chunks_of, head_of

__all__ = ["Unpacked", "unpacked_png"]

BITS = {"L": 8, "1": 1, "RGB": 24, "RGBA": 32}
"""Bits of a pixel by mode of Pillow."""
GREY = (1, 8)
MEAN, PLAIN_FILTERS = 3, 2
"""Rows as they are (0), differences from the pixel to the left (1) and from the row above (2) are all decoded here."""
MOST_MEANS = 4096
"""Bytes in rows of differences from the mean of both neighbours, which are decoded here one by one."""
LARGEST = 2**24
"""Bytes of unpacked pixels up to which the copy is made."""
MOST_STORED = 65535
"""Bytes of a part of a deflate stream that is not packed."""
FEW_ROWS = 8
"""Rows whose channels are compared before those of all rows."""
END = b"\0\0\0\0IEND\xaeB`\x82"


@dataclass(frozen=True, slots=True)
class Unpacked:
    """Holds the unpacked rows of a plain PNG file."""

    content: bytes
    rows: Array
    """Rows `(H, 1 + bytes)` uint8, each of which begins with the number of its filter."""
    checksum: bytes
    bits: int
    """Bits of a pixel."""

    def grey(self) -> Array | None:
        """Decode grey pixels `(H, W)`, uint8 or bool for one bit; None for colours and for other filters."""
        filters = self.rows[:, 0]
        if self.bits not in GREY or (filters.max() > PLAIN_FILTERS and not _has_few_means(self.rows)):
            return None
        pixels = _unfiltered(self.rows[:, 1:].copy(), filters)
        if self.bits == max(GREY):
            return pixels
        return np.unpackbits(pixels, axis=1, count=head_of(self.content)[0]).view(bool)

    def of_equal_colours(self) -> "Unpacked | None":
        """Take a single channel of a file in colours whose channels are equal; None if they differ.

        A filter works on each channel by itself, so channels of equal differences are equal. Alpha is left out.
        """
        if self.bits in GREY:
            return None
        values = self.rows[:, 1:]
        if _common(values[:: len(values) // FEW_ROWS + 1], self.bits // 8) is None:  # photographs are told at once
            return None
        common = _common(values, self.bits // 8)
        if common is None:
            return None
        rows = np.concatenate([self.rows[:, :1], common], axis=1)
        signature, length, kind, width, height, *_ = HEAD.unpack_from(self.content)
        head = HEAD.pack(signature, length, kind, width, height, 8, 0, 0, 0, 0)
        checksums = struct.pack(">I", crc32(head[12:])), struct.pack(">I", adler32(rows.data.cast("B")))
        return Unpacked(head + checksums[0], rows, checksums[1], max(GREY))

    def as_file(self) -> bytearray | None:
        """Make a copy of the file whose pixels are not packed, of header and pixels only; None for a large file."""
        if self.rows.size > LARGEST:
            return None
        stored = self.rows.data.cast("B")
        packed = len(b"IDAT\x78\x01") + len(stored) + -(-len(stored) // MOST_STORED) * 5 + len(self.checksum)
        start = HEAD.size + 4  # behind the checksum of the header
        parts: list[bytes | memoryview] = [self.content[:start], struct.pack(">I", packed - 4), b"IDAT\x78\x01"]
        for at in range(0, len(stored), MOST_STORED):
            part = stored[at : at + MOST_STORED]
            is_last = at + MOST_STORED >= len(stored)
            parts += [struct.pack("<BHH", is_last, len(part), len(part) ^ MOST_STORED), part]
        copied = bytearray().join([*parts, self.checksum, bytes(4), END])
        end = start + 4 + packed
        struct.pack_into(">I", copied, end, crc32(memoryview(copied)[start + 4 : end]))
        return copied


def unpacked_png(content: bytes) -> Unpacked | None:
    """Unpack the rows of a file; None for a file of another kind, a large one in colours, or one that is damaged."""
    if len(content) < HEAD.size:
        return None
    width, height, mode = head_of(content)
    bits = 0 if mode is None else BITS[mode]
    size = height * (1 + (width * bits + 7) // 8)
    if not bits or (bits not in GREY and size > LARGEST):
        return None
    packed = _image_data(content)
    if packed is None:
        return None
    try:
        stored = imagecodecs.deflate_decode(packed, out=size)  # compares the checksum
    except Exception:  # whatever it raises for a damaged file, another decoder tells it
        return None
    if len(stored) != size:
        return None
    return Unpacked(content, np.frombuffer(stored, np.uint8).reshape(height, -1), packed[-4:], bits)


def _common(values: Array, channels: int) -> Array | None:
    """Return the common channel `(H, W)` of rows `(H, W * channels)`; None if red, green and blue differ."""
    red, green, blue, *_ = cv2.split(np.ascontiguousarray(values).reshape(len(values), -1, channels))
    return red if np.array_equal(red, green) and np.array_equal(red, blue) else None


def _has_few_means(rows: Array) -> bool:
    filters = rows[:, 0]
    return bool(filters.max() == MEAN and np.count_nonzero(filters == MEAN) * rows.shape[1] <= MOST_MEANS)


def _image_data(content: bytes) -> bytes | None:
    """Return the compressed pixels; None if the file does not go on to its end."""
    parts = []
    for kind, start, end in chunks_of(content):
        if kind == b"IDAT":
            parts.append(content[start:end])
        if kind == b"IEND":
            return b"".join(parts)
    return None


def _unfiltered(pixels: Array, filters: Array) -> Array:
    """Sum up the differences in place."""
    across = np.flatnonzero(filters == 1)
    if across.size:
        columns = cv2.transpose(pixels[across])
        for before, column in pairwise(columns):
            np.add(column, before, out=column)
        pixels[across] = cv2.transpose(columns)
    for row in np.flatnonzero(filters >= 2):
        above = pixels[row - 1] if row else np.zeros_like(pixels[0])
        if filters[row] == MEAN:
            pixels[row] = _with_means(pixels[row].tolist(), above.tolist())
        else:
            np.add(pixels[row], above, out=pixels[row])
    return pixels


def _with_means(row: list[int], above: list[int]) -> list[int]:
    """Add the mean of the neighbours to the left and above."""
    summed, left = [], 0
    for difference, upper in zip(row, above, strict=True):
        left = (difference + (left + upper) // 2) & 255
        summed.append(left)
    return summed
