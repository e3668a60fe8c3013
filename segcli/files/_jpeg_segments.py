"""Segments of JPEG files, which hold the header, the tables and notes."""

from collections.abc import Iterator

__all__ = ["SCAN", "segments_of"]

MARKER, SCAN = 0xFF, 0xDA
LENGTH = 2
"""Bytes that state the length of a segment, and count themselves."""


def segments_of(content: bytes) -> Iterator[tuple[int, int]]:
    """List the kind of each segment up to the first scan, and where its data begin.

    Example:
        >>> list(segments_of(bytes([255, 0xD8, 255, 0xDD, 0, 4, 0, 1, 255, 255, SCAN, 0, 3, 9])))
        [(221, 6), (218, 13)]
    """
    at, kind = 2, 0
    while kind != SCAN and at + 4 < len(content) and content[at] == MARKER:
        kind = content[at + 1]
        if kind == MARKER:  # a marker may be repeated
            at += 1
            continue
        start = at + 2 + LENGTH
        yield kind, start
        at += 2 + int.from_bytes(content[at + 2 : start], "big")
