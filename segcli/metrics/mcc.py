"""Matthews correlation coefficient.

Paper: Matthews, "Comparison of the predicted and observed secondary structure of T4 phage lysozyme", 1975,
https://doi.org/10.1016/0005-2795(75)90109-9.
"""

import numpy as np

from segcli.core.types import Array
from segcli.metrics import ConfusionMetric, ratio

__all__ = ["MCC"]

ALIASES = ("matthews_corrcoef",)


class MCC(ConfusionMetric):
    """Correlation of found and true mask, from -1 to 1; NaN where either mask is empty or covers all pixels."""

    def from_counts(self, tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
        """Compute `(TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN))`."""
        # two roots: the product of four large counts has more digits than a float holds
        spread = np.sqrt((tp + fp) * (tn + fn)) * np.sqrt((tp + fn) * (tn + fp))
        return ratio(tp * tn - fp * fn, spread)
