"""F1 score."""

from segcli.core.types import Array
from segcli.metrics import ConfusionMetric, ratio

__all__ = ["F1"]

ALIASES = ("f1_score",)


class F1(ConfusionMetric):
    """Harmonic mean of precision and recall; with several classes, mean over the classes in the truth (macro).

    It is the same number as Dice; F1 is the usual name in image classification.
    """

    def from_counts(self, tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
        """Compute `2 TP / (2 TP + FP + FN)`."""
        return ratio(2 * tp, 2 * tp + fp + fn)
