"""Intersection over union, the Jaccard index."""

from segcli.core.types import Array
from segcli.metrics import ConfusionMetric, ratio

__all__ = ["IoU"]

ALIASES = ("jaccard", "jaccard_index")


class IoU(ConfusionMetric):
    """Overlap over the union of both areas; NaN where both masks are empty."""

    def from_counts(self, tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
        """Compute `TP / (TP + FP + FN)`."""
        return ratio(tp, tp + fp + fn)
