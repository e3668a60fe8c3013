"""Frequency-weighted intersection over union.

Paper: Long et al., "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015,
https://arxiv.org/abs/1411.4038.
"""

from segcli.core.types import Array
from segcli.metrics import ConfusionMetric, ratio

__all__ = ["FrequencyWeightedIoU"]

ALIASES = ("fwiou",)


class FrequencyWeightedIoU(ConfusionMetric):
    """Intersection over union, averaged over classes with their number of true pixels as weight.

    It is computed from one confusion matrix over the data set; a class without a pixel in the truth is left out.
    """

    needs_classes = True
    by_frequency = True

    def from_counts(self, tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
        """Compute `TP / (TP + FP + FN)` of one class."""
        return ratio(tp, tp + fp + fn)
