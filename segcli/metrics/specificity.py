"""Specificity, the true negative rate."""

from segcli.core.types import Array
from segcli.metrics import ConfusionMetric, ratio

__all__ = ["Specificity"]


class Specificity(ConfusionMetric):
    """Share of the background pixels that were predicted as background; NaN where there is no background."""

    def from_counts(self, tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
        """Compute `TN / (TN + FP)`."""
        return ratio(tn, tn + fp)
