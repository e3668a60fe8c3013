"""Precision, the positive predictive value."""

import numpy as np

from segcli.core.types import Array
from segcli.metrics import ConfusionMetric, ratio

__all__ = ["Precision"]


class Precision(ConfusionMetric):
    """Share of the found pixels that are true; NaN where nothing was found."""

    def from_counts(self, tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
        """Compute `TP / (TP + FP)`."""
        return ratio(tp, tp + fp)

    def class_values(self, statistics: Array) -> Array:
        """Compute the value of each class; with exclusive classes, 0 for a class that is present but never found."""
        values = super().class_values(statistics)
        if not self.exclusive or statistics.shape[-2] == 1:
            return values
        return np.where(np.isnan(values) & (self.true_pixels(statistics) > 0), 0.0, values)
