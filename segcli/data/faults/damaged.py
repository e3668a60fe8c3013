"""JPEG, PNG and TIFF files that can be decoded although some of their bytes were changed.

Looking for damage in a JPEG file takes half the time of decoding it. So a large image is looked at before: behind
damaged bytes, its blocks have edges. Damage without such edges is not found.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from segcli.core.checksums import crc32
from segcli.core.types import Array
from segcli.data.checks import Finding
from segcli.files._content import content_of
from segcli.files._jpeg_blocks import fault_of_jpeg
from segcli.files._jpeg_scans import fault_of_progressive, is_progressive
from segcli.files._png_chunks import SIGNATURE, chunks_of
from segcli.files._tiff_jpeg import fault_of_tiff, holds_jpeg

__all__ = ["damaged"]

JPEG = b"\xff\xd8"
TIFF = (".tif", ".tiff")
SMALL = 2**17
"""Values of an image that is always decoded again."""
FEW = 200
"""Files of a folder up to which each progressive file is looked at: that takes ten times as long as to decode it."""
COLUMNS, STRETCH, CLEAR = 4, 16, 2.1
"""Every which column is compared, how many of them together, and the excess at which their lines have an edge, as a
multiple of the differences around it. With these, 15 % of photographs of streets are decoded again, and no eyes."""
AGAIN = "copy the file again from where it is whole, or leave it out"


def damaged(path: Path | None, image: Array | None = None) -> Iterator[Finding]:
    """Find a JPEG, PNG or TIFF file that can be decoded although some of its bytes were changed.

    Args:
        path: The file.
        image: Its pixels `(H, W, C)`, if they are known.
    """
    ending = "" if path is None else path.suffix.lower()
    if path is None or ending not in (".jpg", ".jpeg", ".png", *TIFF):
        return
    if ending in TIFF:
        if image is not None and holds_jpeg(path) and (image.size < SMALL or _has_edges(image)):
            yield from _damaged_pixels(path, fault_of_tiff(path))
        return
    content = content_of(path)
    if content.startswith(SIGNATURE):
        chunk = _wrong_chunk(content)
        if chunk is not None:
            message = f"`{path}` is damaged: the checksum of its part `{chunk}` is wrong, but its pixels can be read"
            yield Finding("damaged_file", "warning", path, message, AGAIN)
    elif content.startswith(JPEG):
        yield from _damaged_pixels(path, _fault_of_jpeg(path, content, image))


def _damaged_pixels(path: Path, fault: str | None) -> Iterator[Finding]:
    if fault is not None:
        message = f"`{path}` is damaged: {fault}, so a part of the image is displaced or missing"
        yield Finding("damaged_file", "warning", path, message, AGAIN)


def _fault_of_jpeg(path: Path, content: bytes, image: Array | None) -> str | None:
    """Say what is wrong with a JPEG file, if its pixels are a reason to look, or looking takes little time."""
    progressive = is_progressive(content)
    is_quick = _has_few(path.parent) if progressive else image is not None and image.size < SMALL
    if image is not None and not is_quick and not _has_edges(image):
        return None
    return fault_of_progressive(content) if progressive else fault_of_jpeg(content)


@lru_cache(maxsize=64)
def _has_few(folder: Path) -> bool:
    """Tell whether a folder holds few files."""
    return sum(1 for _ in folder.iterdir()) <= FEW


def _has_edges(image: Array) -> bool:
    """Tell whether two lines of blocks differ much more, over a stretch, than the lines beside them."""
    count = (len(image) - 2) // 8
    stretches = -(-image.shape[1] // COLUMNS) // STRETCH
    if count < 1 or not stretches:
        return True
    columns, channel = slice(0, stretches * STRETCH * COLUMNS, COLUMNS), image.shape[2] // 2
    lines = [np.ascontiguousarray(image[start::8, columns, channel][:count]) for start in (6, 7, 8, 9)]
    if lines[0].dtype not in (np.uint8, np.uint16, np.float32):
        lines = [line.astype(np.float32) for line in lines]
    above, edge, below = (cv2.absdiff(one, other) for one, other in pairwise(lines))
    usual = cv2.addWeighted(above, 0.5, below, 0.5, 0, dtype=cv2.CV_32F)
    excess = cv2.subtract(edge, usual, dtype=cv2.CV_32F)
    excess, usual = (cv2.resize(each, (stretches, count), interpolation=cv2.INTER_AREA) for each in (excess, usual))
    return bool((excess > CLEAR * (usual + float(np.abs(excess).mean()) + 1)).any())


def _wrong_chunk(content: bytes) -> str | None:
    for kind, start, end in chunks_of(content):
        if end + 4 > len(content):
            return None
        if crc32(content[start - 4 : end]) != int.from_bytes(content[end : end + 4], "big"):
            return str(kind, "latin-1")
    return None
