"""From statistics of single images to averages, values over all pixels, and confidence intervals."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from segcli.core.types import Array
from segcli.metrics import Metric, Score, Scored

__all__ = ["LEVEL", "RESAMPLES", "Tally", "score"]

RESAMPLES = 1000
LEVEL = 0.95
CHUNK = 25
"""Resamples whose statistics are summed at a time; those of the AUC take half a megabyte each."""


class Tally:
    """Collects statistics of images without waiting for the device."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self.metrics = metrics
        self.rows: dict[str, list[Tensor]] = {metric.statistics_name: [] for metric in metrics}

    def add(self, scored: Scored) -> None:
        """Take up a batch."""
        done = set()
        for metric in self.metrics:
            name = metric.statistics_name
            if name not in done:
                done.add(name)
                self.rows[name].append(metric.statistics(scored))

    def statistics(self, metric: Metric) -> Array:
        """Statistics `(N, K, n)` of all images so far."""
        rows = self.rows[metric.statistics_name]
        if not rows:
            return np.zeros((0, 1, 1))
        merged = torch.cat(rows)
        self.rows[metric.statistics_name] = [merged]
        values: Array = merged.cpu().numpy()
        return values

    def averages(self) -> dict[str, float]:
        """Headline value of each metric."""
        return {metric.name: headline(metric, self.statistics(metric)) for metric in self.metrics}

    def state(self) -> dict[str, Tensor]:
        """Everything collected so far, as tensors."""
        return {name: torch.cat(rows) for name, rows in self.rows.items() if rows}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up what `state` gave."""
        for name, rows in state.items():
            self.rows[name] = [rows]


def _averaged(values: Array, axis: int | None = None) -> Array:
    """Mean without NaN; NaN, and no warning, where nothing is left."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=axis)
    total = np.where(defined, values, 0.0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def headline(metric: Metric, statistics: Array) -> float:
    """The value that stands for a metric, classes averaged."""
    if not len(statistics):
        return float("nan")
    if metric.headline == "pooled":
        return float(_averaged(metric.values(statistics.sum(axis=0))))
    return float(_averaged(_averaged(metric.values(statistics), axis=1)))


def score(metric: Metric, statistics: Array, *, seed: int) -> Score:
    """Averages of a metric with the bootstrap interval of its headline.

    Args:
        metric: The metric.
        statistics: `(N, K, n)` for N images.
        seed: Draws the resamples.
    """
    per_image = _averaged(metric.values(statistics), axis=1)
    pooled_headline = metric.headline == "pooled"
    return Score(
        name=metric.name,
        value=headline(metric, statistics),
        scope="all pixels" if pooled_headline else "mean over images",
        interval=_interval(metric, statistics, per_image, seed=seed),
        mean=float(_averaged(per_image)),
        pooled=float(_averaged(metric.values(statistics.sum(axis=0)))),
        num_images=int((~np.isnan(per_image)).sum()),
        per_image=per_image.tolist(),
        higher_is_better=metric.higher_is_better,
    )


def _interval(metric: Metric, statistics: Array, per_image: Array, *, seed: int) -> tuple[float, float] | None:
    """Percentile bootstrap: images are drawn with replacement, and the headline computed anew."""
    count = len(statistics)
    if count < 2:
        return None
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1.0 / count), size=RESAMPLES)
    if metric.headline == "pooled":
        values = np.concatenate(
            [_pooled(metric, statistics, drawn[start : start + CHUNK]) for start in range(0, RESAMPLES, CHUNK)]
        )
    else:
        defined = ~np.isnan(per_image)
        total = drawn @ np.where(defined, per_image, 0.0)
        times = drawn @ defined
        values = np.where(times > 0, total / np.maximum(times, 1), np.nan)
    values = values[~np.isnan(values)]
    if not values.size:
        return None
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _pooled(metric: Metric, statistics: Array, drawn: Array) -> Array:
    rows = statistics.reshape(len(statistics), -1).astype(np.float32)  # counts below 2**24 are exact
    sums = (drawn.astype(np.float32) @ rows).reshape(len(drawn), *statistics.shape[1:])
    return _averaged(metric.values(sums), axis=1)
