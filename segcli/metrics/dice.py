"""Dice coefficient, the F1 score of pixels."""

from segcli.core.types import Array
from segcli.metrics import ConfusionMetric, ratio

__all__ = ["Dice"]

ALIASES = ("dice_score", "dice_coefficient", "dsc")


class Dice(ConfusionMetric):
    """Twice the overlap over the sum of both areas; NaN where both masks are empty."""

    def from_counts(self, tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
        """Compute `2 TP / (2 TP + FP + FN)`."""
        return ratio(2 * tp, 2 * tp + fp + fn)
