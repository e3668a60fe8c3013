"""Precision, the positive predictive value."""

from segcli.core.types import Array
from segcli.metrics import ConfusionMetric, ratio

__all__ = ["Precision"]


class Precision(ConfusionMetric):
    """Share of the found pixels that are true; NaN where nothing was found."""

    def from_counts(self, tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
        """`TP / (TP + FP)`."""
        return ratio(tp, tp + fp)
