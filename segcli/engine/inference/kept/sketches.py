"""Histograms of thousands of bins in a few KiB each, for resamples of images.

A sketch joins neighbouring bins into groups that hold equal shares of the pixels, so that it is as fine as they need
wherever they lie. An average precision depends most on the pixels with the highest scores, so groups are smaller the
fewer pixels lie above them.
"""

import numpy as np

from segcli.core.types import Array

__all__ = ["GROUPS", "JOINT_GROUPS", "grouped", "groups_of", "sketched"]

GROUPS = 512
"""Groups of bins in the sketch of an image."""
JOINT_GROUPS = 1024
"""Groups of bins in which the sketches of all images are added up."""


def groups_of(histogram: Array, count: int) -> Array:
    """Join the bins of a histogram into groups of nearly equal shares.

    A third of a share is that of the background pixels, a third that of the foreground pixels, and a third the sum of
    the pixels of each bin divided by those in it and above it. A bin with more than two shares is a group of its own.

    Args:
        histogram: Background and foreground pixels `(2, n)` in each of n bins.
        count: Number of groups.

    Returns:
        The last bin of each group, in rising order; an empty group has the last bin of the group before it.

    Example:
        >>> groups_of(np.array([[4, 1, 1, 1, 1], [0, 0, 0, 4, 4]]), 4).tolist()
        [1, 3, 3, 4]
    """
    bins = _with_pixels(histogram, np.arange(histogram.shape[1]))
    return _groups_at(histogram[:, bins], bins, histogram.shape[1], count)


def _with_pixels(histogram: Array, bins: Array) -> Array:
    """List the bins that hold pixels, of the given ones, and the first bin of all in any case."""
    found: Array = bins[histogram[:, bins].any(axis=0)]
    return found if found.size and not found[0] else np.concatenate([[0], found])


def _groups_at(counts: Array, bins: Array, length: int, count: int) -> Array:
    """Join bins into groups, as `groups_of` does; `counts` holds only the columns `bins` of the `length` of it."""
    together = counts.sum(axis=0)
    above = np.cumsum(together[::-1])[::-1]
    shares, totals = np.empty((3, len(bins))), np.empty((3, 1))
    shares[:2], shares[2] = counts, together / np.maximum(above, 1)
    spread = np.zeros(length)
    spread[bins] = shares[2]
    totals[:2, 0], totals[2] = shares[:2].sum(axis=1), spread.sum()  # empty bins have a share in how it is rounded
    filled = shares / np.maximum(totals, 1e-9)
    below = np.cumsum(filled.sum(axis=0))
    last: Array = bins[np.searchsorted(below, below[-1] * (np.arange(1, count + 1) / count))]
    before = np.concatenate([[0], last[:-1]])
    begins_heavy = (last != before) & (last == np.concatenate([last[1:], [-1]]))
    last = np.where(begins_heavy, np.maximum(last - 1, before), last)
    last[-1] = length - 1
    return last


def sketched(histograms: Array, bins: Array | None = None) -> Array:
    """Reduce histograms of an image, `(K, 2, n)`, to sketches: last bin, background and foreground of each group.

    Args:
        histograms: The histograms.
        bins: Bins outside of which all of them are empty, in rising order; all n bins when left out.

    Returns:
        `(K, 3, GROUPS)` uint32.
    """
    length = histograms.shape[2]
    among = np.arange(length) if bins is None else bins
    sketches = np.empty((len(histograms), 3, GROUPS), np.uint32)
    for histogram, sketch in zip(histograms, sketches, strict=True):
        own = _with_pixels(histogram, among)
        counts = histogram[:, own]
        sketch[0] = last = _groups_at(counts, own, length, GROUPS)
        below = np.cumsum(counts, axis=1, dtype=np.int64)
        sketch[1:] = np.diff(below[:, np.searchsorted(own, last, side="right") - 1], axis=1, prepend=0)
    return sketches


def grouped(sketches: Array, last: Array) -> Array:
    """Count the pixels of sketched histograms in other groups of bins; pixels are spread evenly within their group.

    Args:
        sketches: Sketches `(N, 3, GROUPS)` of one class in N images.
        last: Last bin of each of G groups.

    Returns:
        Background and foreground pixels `(N, 2, G)` float64.
    """
    counts = np.empty((len(sketches), 2, len(last)))
    for sketch, found in zip(sketches, counts, strict=True):
        ends = np.concatenate([[-1], sketch[0].astype(np.int64)])
        for row in range(2):
            below = np.concatenate([[0], np.cumsum(sketch[row + 1], dtype=np.int64)])
            found[row] = np.diff(np.interp(last, ends, below), prepend=0.0)
    return counts
