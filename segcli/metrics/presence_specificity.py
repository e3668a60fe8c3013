"""Specificity of presence."""

from segcli.core.types import Array
from segcli.metrics import PresenceMetric, ratio

__all__ = ["PresenceSpecificity"]


class PresenceSpecificity(PresenceMetric):
    """Share of the cases without a structure that are predicted not to have it."""

    of_absence = True

    def from_counts(self, tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
        """Compute `TN / (TN + FP)` of the cases."""
        return ratio(tn, tn + fp)
