"""Mean class accuracy.

Paper: Long et al., "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015,
https://arxiv.org/abs/1411.4038.
"""

from segcli.core.types import Array
from segcli.metrics import ConfusionMetric, ratio

__all__ = ["ClassAccuracy"]

ALIASES = ("mean_class_accuracy", "macc")


class ClassAccuracy(ConfusionMetric):
    """Recall of each class, averaged over classes.

    It is computed from one confusion matrix over the data set; a class without a pixel in the truth is left out.
    """

    needs_classes = True

    def from_counts(self, tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
        """Compute `TP / (TP + FN)` of one class."""
        return ratio(tp, tp + fn)
