"""PNG files whose pixels end early, although their data are whole: Pillow fills up the rows that are missing with 0."""

import zlib

import imagecodecs

from segcli.files._png_chunks import HEAD, SIGNATURE, chunks_of

__all__ = ["lacks_rows"]

SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel by the number of the colours."""
PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row and column of each pass of an interlaced file, and their distances."""
AT_ONCE = 2**24
"""Bytes that are unpacked at once."""


def lacks_rows(content: bytes) -> bool:
    """Tell whether the pixels of a PNG file end before the last row that its header states.

    Damage that a decoder notices is not told.
    """
    if not content.startswith(SIGNATURE) or len(content) < HEAD.size:
        return False
    needed = _needed(content)
    packed = b"".join(content[start:end] for kind, start, end in chunks_of(content) if kind == b"IDAT")
    if 0 < needed <= AT_ONCE:
        try:
            return len(imagecodecs.deflate_decode(packed, out=needed)) < needed
        except Exception:  # such as more bytes than needed, or damage
            pass
    unpack, found, rest = zlib.decompressobj(), 0, packed
    try:
        while rest and not unpack.eof and found < needed:
            found += len(unpack.decompress(rest, AT_ONCE))
            rest = unpack.unconsumed_tail
    except zlib.error:
        return False
    return unpack.eof and found < needed


def _needed(content: bytes) -> int:
    """Return the bytes of the rows that the header states, each with the number of its filter."""
    _, _, _, width, height, bits, colours, _, _, interlaced = HEAD.unpack_from(content)
    pixel = bits * SAMPLES.get(colours, 0)
    passes = PASSES if interlaced else ((0, 0, 1, 1),)
    sizes = ((-(-(height - top) // down), -(-(width - left) // across)) for top, left, down, across in passes)
    return sum(rows * (1 + (columns * pixel + 7) // 8) for rows, columns in sizes if rows > 0 and columns > 0)
