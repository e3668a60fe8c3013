"""95th percentile of the Hausdorff distance."""

import numpy as np

from segcli.core.types import Array
from segcli.metrics import OutlineMetric

__all__ = ["HD95"]

ALIASES = ("hausdorff95", "hausdorff_distance_95")


class HD95(OutlineMetric):
    """95th percentile of the distances from each outline to the other, the larger of the two; lower is better.

    Unit: millimetres where the spacing is known, else pixels. NaN where either mask is empty: an image in which
    everything was missed is left out of the mean. Percentiles do not add up, so there is no value over all pixels.
    """

    higher_is_better = False
    perfect = 0.0

    def unit(self, length: str, volume: str) -> str:
        """Name the unit of distances."""
        return length

    def from_distances(self, to_truth: Array, to_found: Array) -> tuple[float, float]:
        """Return the 95th percentile and 1."""
        if not to_truth.size or not to_found.size:
            return 0.0, 0.0
        return float(max(np.percentile(to_truth, 95), np.percentile(to_found, 95))), 1.0

    def values(self, statistics: Array) -> Array:
        """Return the distance of one image; NaN for the sum of several images."""
        return np.where(statistics[..., 1] == 1.0, statistics[..., 0], np.nan)
