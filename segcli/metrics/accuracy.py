"""Pixel accuracy."""

from segcli.core.types import Array
from segcli.metrics import ConfusionMetric, ratio

__all__ = ["Accuracy"]

ALIASES = ("acc",)


class Accuracy(ConfusionMetric):
    """Share of pixels that are classified correctly; always high where the foreground is rare.

    With classes that exclude each other: share of pixels with the right class; each single class is scored against the
    rest.
    """

    def from_counts(self, tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
        """Compute `(TP + TN) / all`."""
        return ratio(tp + tn, tp + fp + fn + tn)

    def over_classes(self, statistics: Array) -> Array:
        """Compute the share of all pixels that are right; not a mean over classes where classes exclude each other."""
        if not self.exclusive or statistics.shape[-2] == 1:
            return super().over_classes(statistics)
        counts = statistics.astype(float)
        return ratio(counts[..., 0].sum(axis=-1), self.true_pixels(counts).sum(axis=-1))
