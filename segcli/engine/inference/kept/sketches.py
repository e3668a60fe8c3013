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
    together = histogram.sum(axis=0)
    bins = np.flatnonzero(together)  # most bins of a small image are empty
    if not bins.size or bins[0]:
        bins = np.concatenate([[0], bins])
    above = np.cumsum(together[bins][::-1])[::-1]
    shares, totals = np.empty((3, len(bins))), np.empty((3, 1))
    shares[:2], shares[2] = histogram[:, bins], together[bins] / np.maximum(above, 1)
    spread = np.zeros(len(together))
    spread[bins] = shares[2]
    totals[:2, 0], totals[2] = shares[:2].sum(axis=1), spread.sum()  # empty bins have a share in how it is rounded
    filled = shares / np.maximum(totals, 1e-9)
    below = np.cumsum(filled.sum(axis=0))
    last: Array = bins[np.searchsorted(below, below[-1] * (np.arange(1, count + 1) / count))]
    before = np.concatenate([[0], last[:-1]])
    begins_heavy = (last != before) & (last == np.concatenate([last[1:], [-1]]))
    last = np.where(begins_heavy, np.maximum(last - 1, before), last)
    last[-1] = histogram.shape[1] - 1
    return last


def sketched(histograms: Array) -> Array:
    """Reduce histograms of an image, `(K, 2, n)`, to sketches: last bin, background and foreground of each group.

    Returns:
        `(K, 3, GROUPS)` uint32.
    """
    sketches = np.empty((len(histograms), 3, GROUPS), np.uint32)
    for histogram, sketch in zip(histograms, sketches, strict=True):
        last = groups_of(histogram, GROUPS)
        bins = np.concatenate([[-1], np.flatnonzero(histogram.any(axis=0))])  # most are empty
        below = np.cumsum(np.where(bins < 0, 0, histogram[:, bins]), axis=1, dtype=np.int64)
        sketch[0] = last
        sketch[1:] = np.diff(below[:, np.searchsorted(bins, last, side="right") - 1], axis=1, prepend=0)
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
