"""Recall, also called sensitivity."""

from segcli.core.types import Array
from segcli.metrics import ConfusionMetric, ratio

__all__ = ["Recall"]

ALIASES = ("sensitivity",)


class Recall(ConfusionMetric):
    """Share of the true pixels that were found; NaN where the truth is empty."""

    def from_counts(self, tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
        """Compute `TP / (TP + FN)`."""
        return ratio(tp, tp + fn)
