"""Pixel accuracy."""

from segcli.core.types import Array
from segcli.metrics import ConfusionMetric, ratio

__all__ = ["Accuracy"]


class Accuracy(ConfusionMetric):
    """Share of the pixels that are right; high by itself where the foreground is rare.

    Of classes that exclude each other, the share whose class is right; each class by itself is taken against the rest.
    """

    def from_counts(self, tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
        """`(TP + TN) / all`."""
        return ratio(tp + tn, tp + fp + fn + tn)

    def over_classes(self, statistics: Array) -> Array:
        """Share of all that is right; not the mean over classes where these exclude each other."""
        if not self.exclusive or statistics.shape[-2] == 1:
            return super().over_classes(statistics)
        counts = statistics.astype(float)
        return ratio(counts[..., 0].sum(axis=-1), self.true_pixels(counts).sum(axis=-1))
