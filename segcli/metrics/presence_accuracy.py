"""Accuracy of presence."""

from segcli.core.types import Array
from segcli.metrics import PresenceMetric, ratio

__all__ = ["PresenceAccuracy"]


class PresenceAccuracy(PresenceMetric):
    """Share of the cases in which presence or absence of a structure is predicted correctly."""

    def from_counts(self, tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
        """Compute `(TP + TN) / all` of the cases."""
        return ratio(tp + tn, tp + fp + fn + tn)
