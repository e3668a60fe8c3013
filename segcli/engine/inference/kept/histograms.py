"""Histograms of many images in little memory: their sums, and of each image its values and a sketch."""

from collections.abc import Iterable, Sequence

import numpy as np

from segcli.core.types import Array, Mask
from segcli.engine.inference.kept.columns import Columns
from segcli.engine.inference.kept.sketches import JOINT_GROUPS, grouped, groups_of, sketched
from segcli.metrics import BINS, HistogramMetric, Metric, averaged

__all__ = ["Histograms"]

SKETCH = "sketch"
CHUNK = 256
"""Images whose sketches are spread at once."""
Group = str | None


class Histograms:
    """Takes the place of the statistics `(N, K, 2 * BINS)` of N images, which would take 256 KiB for each class.

    Sums over images, and the value of each image, are exact. Resamples of images come from sketches: they differ by
    less than 1e-3 from those of the whole histograms.

    Args:
        metrics: Metrics whose values are computed.
    """

    def __init__(self, metrics: Iterable[HistogramMetric]) -> None:
        self.metrics = {metric.name: metric for metric in metrics}
        self.columns = Columns()
        self.groups: list[Group] = []
        """Scenario of each image."""
        self.sums: dict[Group, Array] = {}
        """Histograms `(K, 2 * BINS)` over all images of each scenario."""

    def __len__(self) -> int:
        return len(self.groups)

    def add(self, histograms: Array, group: Group) -> None:
        """Add an image with its histograms `(1, K, 2 * BINS)`."""
        bins = HistogramMetric.occupied(histograms)  # once for all that follows: most bins of an image are empty
        values = {name: metric.values_at(histograms, bins) for name, metric in self.metrics.items()}
        sketch = sketched(histograms[0].reshape(-1, 2, BINS), bins)[None]
        self.columns.append({**values, SKETCH: sketch})
        self.groups.append(group)
        if group not in self.sums:
            self.sums[group] = np.zeros(histograms.shape[1:], np.int64)
        self.sums[group] += histograms[0]

    @classmethod
    def joined(cls, parts: Sequence["Histograms"], order: Array) -> "Histograms":
        """Join what several processes have found, and put the images into an order."""
        whole = cls(parts[0].metrics.values())
        whole.columns = Columns.joined([part.columns for part in parts], order)
        groups = [group for part in parts for group in part.groups]
        whole.groups = [groups[index] for index in order]
        for part in parts:
            for group, total in part.sums.items():
                whole.sums[group] = whole.sums[group] + total if group in whole.sums else total
        return whole

    def of_group(self, group: str, rows: Mask) -> "Histograms":
        """Keep the images of a scenario, which are those in `rows`."""
        part = Histograms(self.metrics.values())
        part.columns = Columns.joined([self.columns], np.flatnonzero(rows))
        part.groups, part.sums = [group] * len(part.columns), {group: self.sums[group]}
        return part

    # ---- values

    @property
    def pooled(self) -> Array:
        """Add up the histograms of all images, `(K, 2 * BINS)`."""
        total: Array = sum(self.sums.values())  # type: ignore[assignment]  # there is an image
        return total

    def class_values(self, metric: Metric) -> Array:
        """Return the value of each class in each image, `(N, K)`."""
        return self.columns[metric.name]

    def per_image(self, metric: Metric) -> Array:
        """Average the values of each image over all classes, `(N)`."""
        return averaged(self.class_values(metric), axis=1)

    def resampled(self, metric: Metric, drawn: Array) -> tuple[Array, Array]:
        """Compute the values over all pixels of resamples.

        The sketches shift all resamples by the same small amount, which is known from the images themselves.

        Args:
            metric: The metric.
            drawn: How often each resample draws each image, `(R, N)`.

        Returns:
            Values of all classes together `(R)`, and of each class `(R, K)`.
        """
        assert isinstance(metric, HistogramMetric)
        pooled = self.pooled.reshape(-1, 2, BINS)
        times = np.concatenate([np.ones((1, drawn.shape[1]), drawn.dtype), drawn])  # first, every image once
        columns = [self._of_class(metric, index, pooled[index], times) for index in range(len(pooled))]
        values = np.stack(columns, axis=1)
        return averaged(values, axis=1), values

    def _of_class(self, metric: HistogramMetric, index: int, pooled: Array, times: Array) -> Array:
        last = groups_of(pooled, JOINT_GROUPS)
        sketches = self.columns[SKETCH][:, index]
        sums = np.zeros((len(times), 2 * len(last)))
        for start in range(0, len(sketches), CHUNK):
            counts = grouped(sketches[start : start + CHUNK], last)
            sums += times[:, start : start + CHUNK].astype(float) @ counts.reshape(len(counts), -1)
        background, foreground = np.split(sums, 2, axis=1)
        coarse = metric.from_histograms(background, foreground)
        exact = metric.from_histograms(pooled[0].astype(float), pooled[1].astype(float))
        values: Array = np.clip(coarse[1:] + (exact - coarse[0]), 0.0, 1.0)
        return values
