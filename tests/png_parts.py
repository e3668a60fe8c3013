"""The parts of which PNG files consist."""

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def part(kind: bytes, data: bytes) -> bytes:
    """Write a part: its length, its kind, its data, and the checksum of both."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
