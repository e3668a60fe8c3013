"""Sensitivity of presence."""

from segcli.core.types import Array
from segcli.metrics import PresenceMetric, ratio

__all__ = ["PresenceSensitivity"]


class PresenceSensitivity(PresenceMetric):
    """Share of the cases with a structure that are predicted to have it."""

    def from_counts(self, tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
        """Compute `TP / (TP + FN)` of the cases."""
        return ratio(tp, tp + fn)
