"""Chunks of PNG files, which hold the header, the pixels, and notes; and what the header of a plain file states."""

import struct
from collections.abc import Iterator

__all__ = ["HEAD", "SIGNATURE", "chunks_of", "head_of"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
"""First bytes of a file."""
HEAD = struct.Struct(">8sI4sIIBBBBB")
"""Signature and header: its length, its kind, width, height, bits of a value, colours, and three numbers of coding."""
MODES = {(8, 0, 0, 0, 0): "L", (1, 0, 0, 0, 0): "1", (8, 2, 0, 0, 0): "RGB", (8, 6, 0, 0, 0): "RGBA"}
"""Modes of Pillow by bits of a value, colours, and deflate with the five usual filters, not interlaced."""


def head_of(content: bytes) -> tuple[int, int, str | None]:
    """Read width, height, and the mode that Pillow gives plain pixels, from a file that is longer than its header.

    The mode is None for other bits, colours or coding.

    Example:
        >>> head_of(HEAD.pack(SIGNATURE, 13, b"IHDR", 40, 30, 8, 2, 0, 0, 0))
        (40, 30, 'RGB')
    """
    _, _, _, width, height, *kind = HEAD.unpack_from(content)
    return width, height, MODES.get(tuple(kind))


def chunks_of(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """List the kind of each chunk, and where its data begin and end; of a cut file, the last may end behind it.

    Example:
        >>> list(chunks_of(SIGNATURE + bytes([0, 0, 0, 2]) + b"pHYs" + bytes(6)))
        [(b'pHYs', 16, 18)]
    """
    at = len(SIGNATURE)
    while at + 12 <= len(content):  # length and kind before the data, and a checksum behind them
        length, kind = struct.unpack_from(">I4s", content, at)
        yield kind, at + 8, at + 8 + length
        at += length + 12
