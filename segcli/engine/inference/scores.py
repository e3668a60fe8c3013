"""Scores: averages over images, values over all pixels, and confidence intervals, from statistics of images."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from segcli.core.types import Array, Mask
from segcli.engine.inference.kept.histograms import Histograms
from segcli.engine.inference.kept.rows import Kept, Rows
from segcli.metrics import ClassScore, Metric, Score, Scored, averaged

__all__ = [
    "LEVEL",
    "RESAMPLES",
    "Statistics",
    "Tally",
    "by_class",
    "class_values",
    "headline",
    "part_of",
    "per_image",
    "pooled",
    "score",
]

RESAMPLES = 1000
CHUNK = 200
"""Resamples whose images are drawn at once: the draws of all, in large numbers, would take 8 KB for each image."""
LEVEL = 0.95
Statistics = Array | Kept
"""Statistics `(N, K, n)` of N images, or another way to keep them."""


class Tally:
    """Collects the statistics of images without waiting for the device."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self.metrics = metrics
        self._by_name: dict[str, Metric] = {}
        for metric in metrics:
            self._by_name.setdefault(metric.statistics_name, metric)
        self.rows: dict[str, list[Tensor]] = {metric.statistics_name: [] for metric in metrics}
        self.histograms: dict[str, Histograms] = {}
        """Histograms in little memory, in place of large statistics, by the name of these."""

    def of(self, scored: Scored) -> dict[str, Tensor]:
        """Compute the statistics of a batch by their name, without adding them."""
        return {name: metric.statistics(scored) for name, metric in self._by_name.items()}

    def append(self, statistics: dict[str, Tensor]) -> None:
        """Add the result of `of`."""
        for name, rows in statistics.items():
            self.rows[name].append(rows)

    def add(self, scored: Scored) -> None:
        """Add the statistics of a batch."""
        self.append(self.of(scored))

    def statistics(self, metric: Metric) -> Statistics:
        """Return the statistics of all images so far."""
        if metric.statistics_name in self.histograms:
            return self.histograms[metric.statistics_name]
        rows = self.rows[metric.statistics_name]
        if not rows:
            return np.zeros((0, 1, 1))
        merged = torch.cat(rows)
        self.rows[metric.statistics_name] = [merged]
        values: Array = merged.cpu().numpy()
        return values

    def mark(self) -> dict[str, int]:
        """Return how many batches were collected so far, for `back_to`."""
        return {name: len(rows) for name, rows in self.rows.items()}

    def back_to(self, mark: dict[str, int]) -> None:
        """Remove everything that was collected after `mark`."""
        self.rows = {name: rows[: mark[name]] for name, rows in self.rows.items()}

    def averages(self) -> dict[str, float]:
        """Compute the main value of each metric."""
        return {metric.name: headline(metric, self.statistics(metric)) for metric in self.metrics}

    def state(self) -> dict[str, Tensor]:
        """Return everything collected so far, as tensors."""
        return {name: torch.cat(rows) for name, rows in self.rows.items() if rows}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Restore the result of `state`."""
        for name, rows in state.items():
            self.rows[name] = [rows]


def _kept(statistics: Statistics) -> Kept:
    return Rows(statistics) if isinstance(statistics, np.ndarray) else statistics


def pooled(statistics: Statistics) -> Array:
    """Add up the statistics of all images, `(K, n)`."""
    return _kept(statistics).pooled


def part_of(statistics: Statistics, group: str, rows: Mask) -> Kept:
    """Choose the images of a scenario, which are those in `rows`."""
    return _kept(statistics).of_group(group, rows)


def class_values(metric: Metric, statistics: Statistics) -> Array:
    """Compute the value of each class in each image, `(N, K)`."""
    return _kept(statistics).class_values(metric)


def per_image(metric: Metric, statistics: Statistics) -> Array:
    """Compute the value of each image, over all classes, `(N)`."""
    return _kept(statistics).per_image(metric)


def headline(metric: Metric, statistics: Statistics) -> float:
    """Compute the main value of a metric, over all classes."""
    if not len(statistics):
        return float("nan")
    if metric.headline == "pooled":
        return float(metric.over_classes(pooled(statistics)))
    return float(averaged(per_image(metric, statistics)))


def by_class(metric: Metric, statistics: Statistics) -> Array:
    """Compute the main value of each class, `(K)`."""
    if metric.headline == "pooled" and len(statistics):
        return metric.class_values(pooled(statistics))
    return averaged(class_values(metric, statistics), axis=0)


def score(metric: Metric, statistics: Statistics, *, seed: int) -> Score:
    """Compute the averages of a metric with bootstrap intervals of its main value.

    Args:
        metric: The metric.
        statistics: Statistics of the images.
        seed: Seed that draws the resamples.
    """
    of_images, of_classes = per_image(metric, statistics), class_values(metric, statistics)
    interval, class_intervals = _intervals(metric, statistics, of_images, of_classes, seed=seed)
    defined = (~np.isnan(of_classes)).sum(axis=0)
    return Score(
        name=metric.name,
        value=headline(metric, statistics),
        scope=metric.pool if metric.headline == "pooled" else "mean over images",
        interval=interval,
        mean=float(averaged(of_images)),
        pooled=float(metric.over_classes(pooled(statistics))),
        num_images=int((~np.isnan(of_images)).sum()),
        per_image=of_images.tolist(),
        higher_is_better=metric.higher_is_better,
        per_class=[
            ClassScore(float(value), limits, int(count))
            for value, limits, count in zip(by_class(metric, statistics), class_intervals, defined, strict=True)
        ],
    )


Interval = tuple[float, float] | None


def _intervals(
    metric: Metric, statistics: Statistics, of_images: Array, of_classes: Array, *, seed: int
) -> tuple[Interval, list[Interval]]:
    """Compute percentile bootstrap intervals of the main value and of each class; images are drawn with replacement."""
    count, channels = of_classes.shape
    if count < 2:
        return None, [None] * channels
    drawn = _draws(count, seed)
    if metric.headline == "mean":
        together = _means(of_images, drawn)
        classes = [_means(column, drawn) for column in of_classes.T]
        return _limits(together), [_limits(values) for values in classes]
    # with few images, many resamples are equal
    distinct, place = np.unique(drawn, axis=0, return_inverse=True)
    place = place.ravel()  # NumPy 2.0 gives it a second axis
    together, columns = _kept(statistics).resampled(metric, distinct)
    if channels == 1:
        return _limits(together[place]), [_limits(together[place])]
    return _limits(together[place]), [_limits(values) for values in columns[place].T]


@lru_cache(maxsize=1)  # all metrics share them
def _draws(count: int, seed: int) -> Array:
    """Draw how often each resample has each image, `(RESAMPLES, count)`, in a small type: 1 KB for each image."""
    generator, chances = np.random.default_rng(seed), np.full(count, 1.0 / count)
    drawn = np.empty((RESAMPLES, count), np.uint8)
    for start in range(0, RESAMPLES, CHUNK):
        rows = generator.multinomial(count, chances, size=min(CHUNK, RESAMPLES - start))
        if rows.max() > np.iinfo(drawn.dtype).max:  # an image is drawn once on average
            drawn = drawn.astype(rows.dtype)
        drawn[start : start + len(rows)] = rows
    drawn.flags.writeable = False
    return drawn


def _means(per_image: Array, drawn: Array) -> Array:
    defined = ~np.isnan(per_image)
    known, means = np.where(defined, per_image, 0.0), np.empty(len(drawn))
    for start in range(0, len(drawn), CHUNK):
        times_drawn = drawn[start : start + CHUNK].astype(float)
        total, times = times_drawn @ known, times_drawn @ defined.astype(float)
        means[start : start + CHUNK] = np.where(times > 0, total / np.maximum(times, 1), np.nan)
    return means


def _limits(values: Array) -> Interval:
    values = values[~np.isnan(values)]
    if not values.size:
        return None
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
