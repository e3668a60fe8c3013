"""Average symmetric surface distance."""

from segcli.core.types import Array
from segcli.metrics import OutlineMetric

__all__ = ["ASSD"]


class ASSD(OutlineMetric):
    """Mean distance from the pixels of both outlines to the other outline; lower is better.

    In millimetres where the spacing is known, else in pixels. NaN where either mask is empty, which leaves images in
    which everything was missed out of the mean. Over all pixels: all outlines of the data set together.
    """

    higher_is_better = False
    perfect = 0.0

    def from_distances(self, to_truth: Array, to_found: Array) -> tuple[float, float]:
        """Sum of the distances and their number."""
        if not to_truth.size or not to_found.size:
            return 0.0, 0.0
        return float(to_truth.sum() + to_found.sum()), float(to_truth.size + to_found.size)
