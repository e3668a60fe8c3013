"""Average precision, the area under the precision-recall curve."""

import numpy as np

from segcli.core.types import Array
from segcli.metrics import BINS, HistogramMetric, ratio

__all__ = ["AveragePrecision"]

ALIASES = ("average_precision_score",)


class AveragePrecision(HistogramMetric):
    """Precision averaged over all thresholds, each weighted by the recall it adds, over all pixels of the data set.

    Unlike the AUC it does not grow with the amount of background. The curve is not interpolated, as in scikit-learn. It
    agrees with scikit-learn to 1e-3, or to 1e-2 where all logits lie within 0.1 of each other, as in an untrained
    network. NaN where there is no foreground.
    """

    def from_histograms(self, background: Array, foreground: Array, bins: Array | None = None) -> Array:
        """Sum precision times gain in recall over the bins, from the highest score down."""
        hits = np.cumsum(foreground[..., ::-1], axis=-1)
        alarms = np.cumsum(background[..., ::-1], axis=-1)
        precision = hits / np.maximum(hits + alarms, 1.0)
        gains = foreground[..., ::-1] * precision
        if bins is not None:
            spread = np.zeros((*gains.shape[:-1], BINS))  # empty bins have a share in how a sum is rounded
            spread[..., BINS - 1 - bins[::-1]] = gains
            gains = spread
        return ratio(gains.sum(axis=-1), hits[..., -1])
