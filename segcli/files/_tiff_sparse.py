"""Sparse TIFF files: tiles and strips that a writer left out."""

import tifffile

__all__ = ["share_left_out"]


def share_left_out(series: tifffile.TiffPageSeries) -> float:
    """Compute the share of tiles or strips without a byte; they are read as 0 or as the file's value for no data."""
    pages = series.levels[0].pages
    counts = [count for page in pages if page is not None for count in page.databytecounts]
    return counts.count(0) / len(counts) if counts else 0.0
