"""Pixel accuracy."""

from segcli.core.types import Array
from segcli.metrics import ConfusionMetric, ratio

__all__ = ["Accuracy"]


class Accuracy(ConfusionMetric):
    """Share of the pixels that are right; high by itself where the foreground is rare."""

    def from_counts(self, tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
        """`(TP + TN) / all`."""
        return ratio(tp + tn, tp + fp + fn + tn)
