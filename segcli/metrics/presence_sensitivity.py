"""Sensitivity of presence."""

from segcli.core.types import Array
from segcli.metrics import PresenceMetric, ratio

__all__ = ["PresenceSensitivity"]


class PresenceSensitivity(PresenceMetric):
    """Share of the cases with a structure in which it was found present."""

    def from_counts(self, tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
        """Quotient of counted cases."""
        return ratio(tp, tp + fn)
