"""F1 score."""

from segcli.core.types import Array
from segcli.metrics import ConfusionMetric, ratio

__all__ = ["F1"]


class F1(ConfusionMetric):
    """Harmonic mean of precision and recall; of several classes, the mean over those that the truth has (macro).

    The same number as Dice, by the name that it has where images are classified.
    """

    def from_counts(self, tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
        """`2 TP / (2 TP + FP + FN)`."""
        return ratio(2 * tp, 2 * tp + fp + fn)
