"""Mean intersection over union, the mIoU of the papers.

Paper: Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge", IJCV 2010.
"""

from segcli.core.types import Array
from segcli.metrics import ConfusionMetric, ratio

__all__ = ["MeanIoU"]

ALIASES = ("miou",)


class MeanIoU(ConfusionMetric):
    """Intersection over union, averaged over classes.

    It is computed from one confusion matrix over the data set; a class without a pixel in the truth is left out.
    """

    needs_classes = True

    def from_counts(self, tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
        """Compute `TP / (TP + FP + FN)` of one class."""
        return ratio(tp, tp + fp + fn)
