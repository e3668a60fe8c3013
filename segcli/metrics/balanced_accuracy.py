"""Balanced accuracy."""

from segcli.core.types import Array
from segcli.metrics import ConfusionMetric, ratio

__all__ = ["BalancedAccuracy"]


class BalancedAccuracy(ConfusionMetric):
    """Mean of recall and specificity; NaN where there is no foreground or no background."""

    def from_counts(self, tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
        """Compute `(TP / (TP + FN) + TN / (TN + FP)) / 2`."""
        values: Array = (ratio(tp, tp + fn) + ratio(tn, tn + fp)) / 2
        return values
