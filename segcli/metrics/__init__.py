"""Metrics, one file each. This file holds the contract of every metric.

A metric reduces each image to a few numbers (its statistics) and turns statistics into a value. Statistics of several
images add up, so that a value over all pixels of a data set, the mean over images and bootstrap intervals all come
from the same numbers, and none depends on the batch size. A value that is not defined (0/0) is NaN and is left out of
averages, which say how many images they stand on.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from segcli.core.types import Array, ConfigModel
from segcli.nn.scored import Scored, ScoredClasses

__all__ = [
    "BINS",
    "ClassScore",
    "ConfusionMetric",
    "HistogramMetric",
    "Metric",
    "OutlineMetric",
    "PresenceMetric",
    "Score",
    "Scored",
    "ScoredClasses",
    "averaged",
    "ratio",
]

BINS = 2**15
FAINT = 2**12
"""Bins for logits below -17; fewer than elsewhere, because thresholds hardly ever lie there."""
LIMIT, FAINTEST = 17.0, -88.0
"""Logits of the largest float32 probability below 1, and of the smallest above 0."""


@dataclass(frozen=True)
class ClassScore:
    """Value of one metric for one class, averaged or pooled as the metric's `scope` says."""

    value: float
    """NaN where the metric is not defined, for example for a class without a pixel in the truth."""
    interval: tuple[float, float] | None
    num_images: int
    """Number of images for which the metric is defined."""


@dataclass(frozen=True)
class Score:
    """Result of one metric over the images of a split."""

    name: str
    value: float
    """The reported value: mean over images or value over all pixels, as `scope` says."""
    scope: str
    interval: tuple[float, float] | None
    """95 % bootstrap interval of `value` over images; None for fewer than two images."""
    mean: float
    """Mean over the images for which the metric is defined."""
    pooled: float
    """Value over all pixels of the split; NaN for a metric without a pooled value."""
    num_images: int
    """Images for which the metric is defined."""
    per_image: list[float]
    higher_is_better: bool
    per_class: list[ClassScore]
    """One entry for each channel of the mask."""


class Metric(ABC):
    """A number that says how good a prediction is."""

    Config: ClassVar[type[ConfigModel]] = ConfigModel
    name: str = ""
    """The component's file name; the key in results."""
    headline: Literal["mean", "pooled"] = "mean"
    """Value that `average_metrics` reports: mean over images, or pooled over all pixels of the data set."""
    pool: str = "all pixels"
    """Name of the units that `pooled` counts, such as `all pixels` or `all cases`."""
    present_only: bool = False
    """True if an image is left out when its only mask is empty in the truth; with several masks this is always so."""
    exclusive: bool = False
    """True if the channels are classes that exclude each other."""
    by_frequency: ClassVar[bool] = False
    """True if the average over classes is weighted by their number of true pixels, False for equal weights."""
    higher_is_better: ClassVar[bool] = True
    perfect: ClassVar[float] = 1.0
    """Value of a prediction without a mistake."""
    costly: ClassVar[bool] = False
    """True if too slow for training batches: the metric is then computed in validation and evaluation only."""
    of_absence: ClassVar[bool] = False
    """True if the metric scores only images without the class; it is undefined for images that show it."""
    needs_classes: ClassVar[bool] = False
    """True if the metric makes sense only where each pixel belongs to one of several classes."""
    needs_pixels: ClassVar[bool] = False
    """True if the metric needs masks and cannot score image classification."""
    needs_calibrated: ClassVar[str | None] = None
    """Output of the network that `eval` needs as a calibrated probability to add the metric by itself."""
    least_classes: ClassVar[int] = 1
    """Smallest number of classes for which `eval` adds the metric by itself."""
    can_ndim: ClassVar[tuple[int, ...]] = (2, 3)
    """Numbers of spatial axes of the images that the metric can score."""

    def __init__(self, config: ConfigModel) -> None:
        self.config = config

    @property
    def statistics_name(self) -> str:
        """Name the statistics; metrics that give the same name share their statistics, which are computed once."""
        return self.name

    def unit(self, length: str, volume: str) -> str:
        """Name the unit of the value; empty for a share.

        Args:
            length: Unit of lengths, such as `mm`.
            volume: Unit of volumes, such as `mm³`.
        """
        return ""

    @abstractmethod
    def statistics(self, scored: Scored) -> Tensor:
        """Compute additive numbers per image and channel, `(B, K, n)`, without waiting for the device."""

    @abstractmethod
    def values(self, statistics: Array) -> Array:
        """Compute the value of each row, `(..., n) -> (...)`; NaN where the metric is not defined."""

    def true_pixels(self, statistics: Array) -> Array | None:
        """Count the true pixels of each row, `(..., n) -> (...)`; None if the statistics do not contain them."""
        return None

    def class_values(self, statistics: Array) -> Array:
        """Compute the value of each class, `(..., K, n) -> (..., K)`.

        A single mask is scored even if it is empty. With several classes, a class without a pixel in the truth is left
        out (NaN), so that it enters the average neither as 0 nor as 1.
        """
        values, true = self.values(statistics), self.true_pixels(statistics)
        if true is None or (statistics.shape[-2] == 1 and not self.present_only):
            return values
        return np.where(true > 0, values, np.nan)

    def over_classes(self, statistics: Array) -> Array:
        """Compute the value of all classes together, `(..., K, n) -> (...)`."""
        values = self.class_values(statistics)
        if not self.by_frequency:
            return averaged(values, axis=-1)
        true = self.true_pixels(statistics)
        assert true is not None
        weighted = np.where(np.isnan(values), 0.0, values * true).sum(axis=-1)
        return ratio(weighted, np.where(np.isnan(values), 0.0, true).sum(axis=-1).astype(float))


class ConfusionMetric(Metric):
    """A metric that is a function of true and false positives and negatives."""

    @property
    def statistics_name(self) -> str:
        """Return one name for all metrics of this kind."""
        return "confusion"

    def statistics(self, scored: Scored) -> Tensor:
        """Count true positives, false positives, false negatives and true negatives `(B, K, 4)`."""
        return scored.confusion

    def values(self, statistics: Array) -> Array:
        """Compute the value of each row of counts."""
        return self.from_counts(*(statistics[..., column].astype(float) for column in range(4)))

    def true_pixels(self, statistics: Array) -> Array:
        """Add true positive and false negative pixels."""
        pixels: Array = statistics[..., 0] + statistics[..., 2]
        return pixels

    @abstractmethod
    def from_counts(self, tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
        """Compute the value from true positive, false positive, false negative and true negative pixels."""


class PresenceMetric(ConfusionMetric):
    """A metric of presence, present or absent per case and structure, over all cases of the data set."""

    headline: Literal["mean", "pooled"] = "pooled"
    pool = "all cases"
    needs_pixels = True

    @property
    def statistics_name(self) -> str:
        """Return one name for all metrics of this kind."""
        return "presence"

    def statistics(self, scored: Scored) -> Tensor:
        """Return true positive, false positive, false negative, true negative case `(B, K, 4)`; one of them is 1."""
        found, true = scored.found_presence, scored.true_presence
        counted = scored.valid.flatten(2).any(2)
        pairs = [found & true, found & ~true, ~found & true, ~found & ~true]
        return torch.stack([(pair & counted).long() for pair in pairs], dim=2)

    def class_values(self, statistics: Array) -> Array:
        """Compute the value of each class; classes that are absent in the truth count too."""
        return self.values(statistics)


class HistogramMetric(Metric):
    """A metric of the ranking of pixels by probability (such as AUC), over all pixels of the data set.

    Probabilities are counted in 32,768 bins of logits (0.0012 wide between -17 and 17), so that pixels of a data set of
    any size can be pooled. Pixels in one bin count as ties.
    """

    headline: Literal["mean", "pooled"] = "pooled"
    costly = True

    @property
    def statistics_name(self) -> str:
        """Return one name for all metrics of this kind."""
        return "histogram"

    def statistics(self, scored: Scored) -> Tensor:
        """Count background and foreground pixels in each bin, `(B, K, 2 * BINS)`."""
        logits = torch.logit(scored.probs.float()).clamp(FAINTEST, LIMIT)
        faint = (logits - FAINTEST) * (FAINT / (-LIMIT - FAINTEST))
        usual = FAINT + (logits + LIMIT) * ((BINS - FAINT) / (2 * LIMIT))
        position = torch.where(logits < -LIMIT, faint, usual).long().clamp(0, BINS - 1) + BINS * scored.truth
        rows, columns = scored.probs.shape[:2]
        counts = torch.zeros(rows, columns, 2 * BINS, dtype=torch.int32, device=position.device)
        weight = scored.valid.to(torch.int32)
        return counts.scatter_add_(2, position.reshape(rows, columns, -1), weight.reshape(rows, columns, -1))

    def values(self, statistics: Array) -> Array:
        """Compute the value of each row of counts; bins that are empty in every row are left out."""
        return self.values_at(statistics, self.occupied(statistics))

    @staticmethod
    def occupied(statistics: Array) -> Array:
        """List the bins that hold pixels in any row, in rising order, and the first bin in any case."""
        occupied: Array = np.any(statistics.reshape(-1, BINS), axis=0)
        occupied[0] = True
        return np.flatnonzero(occupied)

    def values_at(self, statistics: Array, bins: Array) -> Array:
        """Compute the value of each row of counts, as `values` does, from bins that `occupied` has listed."""
        background, foreground = statistics[..., :BINS], statistics[..., BINS:]
        return self.from_histograms(background[..., bins].astype(float), foreground[..., bins].astype(float), bins)

    @staticmethod
    def counts_from(statistics: Array, threshold: float) -> tuple[Array, Array, Array]:
        """Count true positive, false positive and false negative pixels for a threshold between 0 and 1.

        The threshold is exact to one bin.
        """
        background, foreground = statistics[..., :BINS], statistics[..., BINS:]
        logit = float(np.log(threshold / (1.0 - threshold)))
        first = FAINT + int(np.ceil((logit + LIMIT) * ((BINS - FAINT) / (2 * LIMIT))))
        return (
            foreground[..., first:].sum(axis=-1),
            background[..., first:].sum(axis=-1),
            foreground[..., :first].sum(axis=-1),
        )

    @abstractmethod
    def from_histograms(self, background: Array, foreground: Array, bins: Array | None = None) -> Array:
        """Compute the value from the pixels in each bin, bins in rising order, `(..., n), (..., n) -> (...)`.

        Args:
            background: Background pixels in each bin.
            foreground: Foreground pixels in each bin.
            bins: Place of each of the n bins among `BINS`, if empty bins are left out. The value has the same bits.
        """


class OutlineMetric(Metric):
    """A metric of the surface distances between found and true mask, in the unit of `Scored.spacing`.

    Its statistics are a numerator, a denominator, and the pixels of the true outline. Pixels that are not valid belong
    to neither mask. So a mask that crosses the border of the valid region has an outline along that border.
    """

    costly = True
    needs_pixels = True

    def statistics(self, scored: Scored) -> Tensor:
        """Compute numerators, denominators and true outline pixels `(B, K, 3)`."""
        rows = [
            [(*self.from_distances(*pair), float(pair[1].size)) for pair in image] for image in scored.outline_distances
        ]
        device = scored.probs.device
        precise = torch.float32 if device.type == "mps" else torch.float64  # MPS has no float64
        return torch.tensor(rows, dtype=precise, device=device)

    def values(self, statistics: Array) -> Array:
        """Divide numerator by denominator; NaN where the denominator is 0."""
        return ratio(statistics[..., 0], statistics[..., 1])

    def true_pixels(self, statistics: Array) -> Array:
        """Return the pixels of the true outline."""
        pixels: Array = statistics[..., 2]
        return pixels

    @abstractmethod
    def from_distances(self, to_truth: Array, to_found: Array) -> tuple[float, float]:
        """Compute numerator and denominator from the distances of each outline to the other one."""


def averaged(values: Array, axis: int | None = None) -> Array:
    """Average all values that are not NaN; return NaN, without a warning, where all are NaN."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=axis)
    total = np.where(defined, values, 0.0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def ratio(numerator: Array, denominator: Array) -> Array:
    """Divide; NaN where the denominator is 0.

    Example:
        >>> import numpy as np
        >>> ratio(np.array([1.0, 0.0]), np.array([2.0, 0.0]))
        array([0.5, nan])
    """
    defined = denominator != 0
    result: Array = np.divide(numerator, denominator, out=np.full_like(denominator, np.nan), where=defined)
    return result
