"""95th percentile of the Hausdorff distance."""

import numpy as np

from segcli.core.types import Array
from segcli.metrics import OutlineMetric

__all__ = ["HD95"]


class HD95(OutlineMetric):
    """Distance within which 95 % of each outline's pixels find the other outline, the worse of both; lower is better.

    In millimetres where the spacing is known, else in pixels. NaN where either mask is empty, which leaves images in
    which everything was missed out of the mean. Percentiles of images do not add up: there is no value over all pixels.
    """

    higher_is_better = False
    perfect = 0.0

    def from_distances(self, to_truth: Array, to_found: Array) -> tuple[float, float]:
        """The distance and 1."""
        if not to_truth.size or not to_found.size:
            return 0.0, 0.0
        return float(max(np.percentile(to_truth, 95), np.percentile(to_found, 95))), 1.0

    def values(self, statistics: Array) -> Array:
        """The distance of one image; NaN for sums of several."""
        return np.where(statistics[..., 1] == 1.0, statistics[..., 0], np.nan)
