"""Compares what a header states with the size of the file, before memory is taken for it."""

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from segcli.core.errors import DataError

__all__ = ["DEFLATE", "refuse_more_than_slice", "refuse_more_than_stored", "refuse_more_than_tiles"]

DEFLATE = 1100.0
"""At most this many bytes are packed into one by deflate, which ZIP, PNG, TIFF and HDF5 use."""
LZW = 3000.0
"""At most this many bytes are packed into one by LZW."""
MOST_PIXELS = {"PNG": 8 * DEFLATE, "GIF": LZW, "JPEG": 8192.0}
"""At most this many pixels are packed into one byte, by format of Pillow; a pixel of one bit is the smallest."""
RATIOS = {1: 1.0, 5: LZW, 8: DEFLATE, 32946: DEFLATE, 32773: 64.0}
"""At most this many bytes are packed into one, by the number of the compression of TIFF."""
SLACK = 4096
"""Bytes that may be missing: readers fill up short files."""
HINT = "copy the file again, or remove it from the data set"


def refuse_more_than_slice(path: Path, shape: Sequence[int]) -> None:
    """Refuse a slice of DICOM whose header states far more pixels than the file can hold.

    Raises:
        DataError: It does.
    """
    _compare(path, shape, math.prod(shape), path.stat().st_size, MOST_PIXELS["JPEG"])


def refuse_more_than_stored(path: Path, image: Image.Image) -> None:
    """Refuse a picture whose header states far more pixels than its bytes can hold.

    Raises:
        DataError: It does.
    """
    most = MOST_PIXELS.get(image.format or "")
    tile = getattr(image, "tile", None)
    if most is None and tile and tile[0][0] == "raw":
        most = 8.0
    if most is not None:
        _compare(path, (image.height, image.width), image.height * image.width, path.stat().st_size, most)


def refuse_more_than_tiles(
    path: Path, shape: Sequence[int], tile: int, stored: Sequence[int], compression: int, bits: int
) -> None:
    """Refuse a page whose header states far more pixels than its tiles or strips hold.

    Args:
        path: The file.
        shape: Shape of the page.
        tile: Bytes of a tile or strip, once it is unpacked.
        stored: Bytes of each tile or strip in the file; 0 for one that the writer left out.
        compression: Number of the compression in the file.
        bits: Bits of a value in the file, which takes a byte or more once it is unpacked.

    Raises:
        DataError: It does.
    """
    most, count = RATIOS.get(compression), sum(1 for length in stored if length)
    if most is not None and count:
        # the last strip may be shorter than the others
        stated = min(max(count - 1, 1) * tile, math.prod(shape))
        _compare(path, shape, stated, sum(stored), most * max(8 / max(bits, 1), 1.0))


def _compare(path: Path, shape: Sequence[int], stated: float, stored: int, most: float) -> None:
    if stated > (stored + SLACK) * most:
        sizes = "x".join(map(str, shape))
        raise DataError(
            f"`{path}` is truncated: its header states {sizes} pixels, but its {stored:,} bytes cannot hold them",
            hint=HINT,
        )
