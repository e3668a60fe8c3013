"""Chunks of PNG files, which hold the header, the pixels, and notes."""

import struct
from collections.abc import Iterator

__all__ = ["SIGNATURE", "chunks_of"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
"""First bytes of a file."""


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
