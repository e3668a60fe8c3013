"""Plain PNG files whose bytes are in memory: what Pillow would tell about them, which takes long for small files.

A file is plain if it holds grey or colours of 8 bits, or grey of one bit, and nothing that changes their meaning. What
any other file is, or one with a fault, Pillow tells.
"""

from collections.abc import Callable
from pathlib import Path

from segcli.core.checksums import crc32
from segcli.core.types import Array
from segcli.files import Picture
from segcli.files._codecs import decoded_png
from segcli.files._png_chunks import HEAD, SIGNATURE, chunks_of, head_of
from segcli.files._promises import MOST_PIXELS

__all__ = ["PlainPNG", "mode_of_plain"]

FIRST, PIXELS, LAST = b"IHDR", b"IDAT", b"IEND"
LENGTHS = {FIRST: 13, LAST: 0, b"pHYs": 9, b"gAMA": 4, b"sRGB": 1, b"cHRM": 32, b"tIME": 7}
"""Lengths of the parts that a plain file may have beside its pixels."""


class PlainPNG(Picture):
    """Reads a plain file from its bytes.

    Args:
        path: The file.
        content: Its bytes.
        mode: Mode that Pillow gives it.
        by_pillow: Opens the file with Pillow, which tells what is wrong with pixels that cannot be decoded.
    """

    itemsize = 1

    def __init__(self, path: Path, content: bytes, mode: str, by_pillow: Callable[[], Picture]) -> None:
        width, height, _ = head_of(content)
        self.path, self.size, self.channels = path, (height, width), 1 if mode in ("1", "L") else 3
        self.bilevel, self.has_alpha = mode == "1", mode == "RGBA"
        self._content, self._mode, self._by_pillow = content, mode, by_pillow

    def whole(self) -> Array:
        return self._decoded(lambda other: other.whole())

    def numbers(self) -> Array:
        """Decode numbers as stored."""
        return self._decoded(lambda other: other.numbers())

    def _decoded(self, otherwise: Callable[[Picture], Array]) -> Array:
        height, width = self.size
        pixels = decoded_png(self._content, self._mode, (height, width))
        if pixels is None:
            with self._by_pillow() as other:
                return otherwise(other)
        return pixels[:, :, None] if pixels.ndim == 2 else pixels


def mode_of_plain(content: bytes) -> str | None:
    """Return the mode that Pillow gives a plain file; None for a file of another kind, or one with a fault."""
    if not content.startswith(SIGNATURE) or len(content) < HEAD.size:
        return None
    width, height, mode = head_of(content)
    is_plain = mode is not None and 0 < width * height <= len(content) * MOST_PIXELS["PNG"] and _is_whole(content)
    return mode if is_plain else None


def _is_whole(content: bytes) -> bool:
    """Tell whether a file has header, pixels and end in this order, each as it was written, and no unknown parts."""
    before, view = b"", memoryview(content)
    for kind, start, end in chunks_of(content):
        if (kind == FIRST) != (before == b"") or (before == PIXELS and kind not in (PIXELS, LAST)):
            return False
        if (kind != PIXELS and LENGTHS.get(kind) != end - start) or end + 4 > len(content):
            return False
        if crc32(view[start - 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            return False
        if kind == LAST:
            return before == PIXELS and end + 4 == len(content)
        before = kind
    return False
