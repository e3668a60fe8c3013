"""Average symmetric surface distance."""

from segcli.core.types import Array
from segcli.metrics import OutlineMetric

__all__ = ["ASSD"]

ALIASES = ("average_symmetric_surface_distance",)


class ASSD(OutlineMetric):
    """Mean distance from the outline pixels of each mask to the outline of the other mask; lower is better.

    Unit: millimetres where the spacing is known, else pixels. NaN where either mask is empty: an image in which
    everything was missed is left out of the mean. The pooled value takes all outlines of the data set together.
    """

    higher_is_better = False
    perfect = 0.0

    def unit(self, length: str, volume: str) -> str:
        """Name the unit of distances."""
        return length

    def from_distances(self, to_truth: Array, to_found: Array) -> tuple[float, float]:
        """Return the sum of the distances and their number."""
        if not to_truth.size or not to_found.size:
            return 0.0, 0.0
        return float(to_truth.sum() + to_found.sum()), float(to_truth.size + to_found.size)
