"""Checksums of many bytes, by libdeflate: much faster than those of zlib."""

from typing import cast

import imagecodecs

__all__ = ["adler32", "crc32"]


def crc32(block: bytes | memoryview, before: int = 0) -> int:
    """Compute the CRC-32 of bytes, or of those of which `before` is the CRC-32, and these behind them.

    Example:
        >>> f"{crc32(memoryview(b'IEND')):08x}"
        'ae426082'
    """
    checksum: int = imagecodecs.deflate_crc32(cast("bytes", block), before)  # any buffer is taken; its types name fewer
    return checksum


def adler32(block: bytes | memoryview) -> int:
    """Compute the Adler-32 of bytes.

    Example:
        >>> f"{adler32(memoryview(b'Wikipedia')):08x}"
        '11e60398'
    """
    checksum: int = imagecodecs.deflate_adler32(cast("bytes", block))
    return checksum
