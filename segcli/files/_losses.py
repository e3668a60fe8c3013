"""Compressions that change values, such as the numbers of a mask; where one may be exact, its code tells."""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from segcli.core.errors import DataError
from segcli.core.types import Array

__all__ = ["CODESTREAM", "EXACT", "loss_of_jpeg2000", "loss_of_page", "loss_of_webp", "refuse_changed"]

LOSSY = {6: "JPEG", 7: "JPEG", 33007: "JPEG", 34892: "JPEG", 22610: "JPEG XR", 34934: "JPEG XR"}
"""TIFF compressions that change values, or whose code does not tell whether it does."""
EXACT = 255
"""Foreground of a mask that survives a compression: numbers between 0 and 255 tell that it changed them."""
CODESTREAM = b"\xff\x4f\xff\x51"
"""First two markers of JPEG 2000, as a profile of colours before them may hold the first one by chance."""
CODING, TILE = 0xFF52, 0xFF90
"""Markers of JPEG 2000: that of the transform, and that of the first tile."""
LERC = b"Lerc2 "
ROUNDED = 0.5
"""Largest error of LERC that changes no whole number."""
ZSTD = b"\x28\xb5\x2f\xfd"


def refuse_changed(path: Path, numbers: Array, loss: str | None) -> None:
    """Refuse numbers of a mask that went through a compression that changes them, unless all are 0 and 255.

    Raises:
        DataError: The numbers may have changed.
    """
    if loss is None or numbers.dtype == bool or not set(np.unique(numbers).tolist()) - {0, EXACT}:
        return
    message = f"mask `{path}` is stored as {loss}, which changes its numbers"
    raise DataError(message, hint="export it again with a compression that keeps numbers, such as deflate")


def loss_of_page(page: Any) -> str | None:
    """Name the compression of a page of a TIFF file that changes values; None if values are exact."""
    number = int(page.compression)
    judge = JUDGES.get(number)
    if judge is None:
        return LOSSY.get(number)
    content = _first_segment(page)
    return judge(content) if content else None


def loss_of_jpeg2000(content: bytes) -> str | None:
    """Name JPEG 2000 if its wavelets do not keep whole numbers; a code that was cut later is not told."""
    at = content.find(CODESTREAM)
    at = len(content) if at < 0 else at + 2
    while at + 14 <= len(content):
        marker, length = struct.unpack_from(">HH", content, at)
        if marker == CODING:
            return "JPEG 2000" if content[at + 13] == 0 else None
        if marker == TILE:
            return None
        at += 2 + length
    return None


def loss_of_webp(content: bytes) -> str | None:
    """Name WebP unless all its frames are stored without loss."""
    kinds = set(_chunks(content))
    return "WebP" if b"VP8 " in kinds or b"ANMF" in kinds else None


def _loss_of_lerc(content: bytes) -> str | None:
    if not content.startswith(LERC):  # packed once more
        unpack = imagecodecs.zstd_decode if content.startswith(ZSTD) else imagecodecs.zlib_decode
        content = bytes(unpack(content))
    version = struct.unpack_from("<i", content, len(LERC))[0]
    sizes = 6 + (version >= 4)
    at = len(LERC) + 4 + 4 * (version >= 3) + 4 * sizes + 8 * (version >= 6)
    return "LERC" if struct.unpack_from("<d", content, at)[0] > ROUNDED else None


def _loss_of_jpegxl(content: bytes) -> str | None:
    """Tell from the header whether the colours are those of JPEG XL, in which nothing is stored without loss."""
    at = content.find(b"\xff\x0a")
    bits = _Bits(content[max(at, 0) + 2 :][:64])
    bits.skip_size()
    if bits.take(1):  # everything as usual
        return "JPEG XL"
    if bits.take(1):  # orientation, preview or animation: no mask has them
        return None
    if bits.take(1):
        bits.choose(32, 16, 24, 6)
        bits.take(4)
    else:
        bits.choose(8, 10, 12, 6)
    bits.take(1)
    if bits.take(2):  # further channels
        return None
    return "JPEG XL" if bits.take(1) else None


class _Bits:
    """Reads numbers bit by bit, the lowest bit first."""

    def __init__(self, content: bytes) -> None:
        self.rest = int.from_bytes(content, "little")

    def take(self, count: int) -> int:
        """Read a number of this many bits."""
        value = self.rest & ((1 << count) - 1)
        self.rest >>= count
        return value

    def choose(self, *kinds: int) -> None:
        """Skip a number whose kind says how it is stored; only the last kind has bits of its own."""
        if self.take(2) == len(kinds) - 1:
            self.take(kinds[-1])

    def skip_size(self) -> None:
        """Skip height and width."""
        is_small = self.take(1)
        self._skip_length(is_small)
        if not self.take(3):  # no common ratio
            self._skip_length(is_small)

    def _skip_length(self, is_small: int) -> None:
        self.take(5 if is_small else (9, 13, 18, 30)[self.take(2)])


def _chunks(content: bytes) -> Iterator[bytes]:
    """List the kinds of the chunks of a WebP file."""
    at = 12
    while at + 8 <= len(content):
        kind, length = struct.unpack_from("<4sI", content, at)
        yield kind
        at += 8 + length + length % 2


def _first_segment(page: Any) -> bytes:
    """Read the first tile or strip that is stored; empty if the writer left out all of them."""
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
        if count:
            stream = page.parent.filehandle
            stream.seek(offset)
            content: bytes = stream.read(count)
            return content
    return b""


JUDGES: dict[int, Callable[[bytes], str | None]] = {
    **dict.fromkeys((33003, 33004, 33005, 34712), loss_of_jpeg2000),
    **dict.fromkeys((50002, 52546), _loss_of_jpegxl),
    34887: _loss_of_lerc,
    50001: loss_of_webp,
}
"""Judges of the code by TIFF compression."""
