"""Tiles and strips of TIFF files: those that a writer left out, and their size."""

from pathlib import Path

import numpy as np
import tifffile

from segcli.files._promises import refuse_more_than_tiles

__all__ = ["share_left_out", "unpacked_at_once"]


def share_left_out(series: tifffile.TiffPageSeries) -> float:
    """Compute the share of tiles or strips without a byte; they are read as 0 or as the file's value for no data."""
    pages = series.levels[0].pages
    counts = [count for page in pages if page is not None for count in page.databytecounts]
    return counts.count(0) / len(counts) if counts else 0.0


def unpacked_at_once(path: Path, series: tifffile.TiffPageSeries) -> int:
    """Return the bytes of a tile or strip, which is unpacked as a whole.

    Raises:
        DataError: The first page states far more pixels than its tiles or strips hold.
    """
    page = series.keyframe
    values = np.prod(page.chunks, dtype=object) if page.dtype is not None else 0
    tile = int(values) * (page.dtype.itemsize if page.dtype is not None else 0)
    refuse_more_than_tiles(path, page.shape, tile, page.databytecounts, int(page.compression), page.bitspersample)
    return tile
