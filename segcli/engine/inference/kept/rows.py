"""Statistics of images as scores ask for them: a protocol for all ways to keep them, and the plain way, row by row."""

from typing import Protocol

import numpy as np

from segcli.core.types import Array, Mask
from segcli.metrics import Metric

__all__ = ["Kept", "Rows"]

CHUNK = 25
"""Resamples per step when statistics are summed."""


class Kept(Protocol):
    """Statistics of N images and K classes."""

    def __len__(self) -> int:
        """Count the images."""

    @property
    def pooled(self) -> Array:
        """Add up the statistics of all images, `(K, n)`."""

    def of_group(self, group: str, rows: Mask) -> "Kept":
        """Choose the images of a scenario, which are those in `rows`."""

    def class_values(self, metric: Metric) -> Array:
        """Compute the value of each class in each image, `(N, K)`."""

    def per_image(self, metric: Metric) -> Array:
        """Compute the value of each image, over all classes, `(N)`."""

    def resampled(self, metric: Metric, drawn: Array) -> tuple[Array, Array]:
        """Compute the pooled values of resamples: of all classes together `(R)`, and of each class `(R, K)`.

        Args:
            metric: The metric.
            drawn: How often each resample draws each image, `(R, N)`.
        """


class Rows:
    """Keeps statistics `(N, K, n)` as they are."""

    def __init__(self, statistics: Array) -> None:
        self.statistics = statistics

    def __len__(self) -> int:
        return len(self.statistics)

    @property
    def pooled(self) -> Array:
        """Add up the statistics of all images, `(K, n)`."""
        total: Array = self.statistics.sum(axis=0)
        return total

    def of_group(self, group: str, rows: Mask) -> "Rows":
        """Choose the images in `rows`."""
        return Rows(self.statistics[rows])

    def class_values(self, metric: Metric) -> Array:
        """Compute the value of each class in each image, `(N, K)`."""
        return metric.class_values(self.statistics)

    def per_image(self, metric: Metric) -> Array:
        """Compute the value of each image, over all classes, `(N)`."""
        return metric.over_classes(self.statistics)

    def resampled(self, metric: Metric, drawn: Array) -> tuple[Array, Array]:
        """Compute the pooled values of resamples: of all classes together `(R)`, and of each class `(R, K)`."""
        chunks = [self._sums(drawn[start : start + CHUNK]) for start in range(0, len(drawn), CHUNK)]
        together = np.concatenate([metric.over_classes(sums) for sums in chunks])
        if self.statistics.shape[1] == 1:
            return together, together[:, None]
        return together, np.concatenate([metric.class_values(sums) for sums in chunks])

    def _sums(self, drawn: Array) -> Array:
        rows = self.statistics.reshape(len(self), -1).astype(np.float32)  # counts below 2**24 are exact
        sums: Array = (drawn.astype(np.float32) @ rows).reshape(len(drawn), *self.statistics.shape[1:])
        return sums
