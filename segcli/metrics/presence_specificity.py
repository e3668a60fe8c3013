"""Specificity of presence."""

from segcli.core.types import Array
from segcli.metrics import PresenceMetric, ratio

__all__ = ["PresenceSpecificity"]


class PresenceSpecificity(PresenceMetric):
    """Share of the cases without a structure in which it was found absent."""

    of_absence = True

    def from_counts(self, tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
        """Quotient of counted cases."""
        return ratio(tn, tn + fp)
