"""Metrics, one file each. What every metric keeps stands here.

A metric reduces each image to a few numbers (its statistics) and turns statistics into a value. Statistics of several
images add up, so that a value over all pixels of a data set, the mean over images and bootstrap intervals all come
from the same numbers, and none depends on the batch size. A value that is not defined (0/0) is NaN and is left out of
averages, which say how many images they stand on.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from segcli.core.types import Array, ConfigModel

__all__ = ["ConfusionMetric", "Metric", "Score", "Scored", "ratio"]


class Scored:
    """What was found in a batch beside the truth; shared work is done once for all metrics.

    Args:
        probs: Probabilities `(B, K, *S)`.
        truth: `(B, K, *S)` boolean.
        valid: `(B, 1, *S)` boolean; what is False does not count.
        threshold: A pixel belongs to the mask from this probability on.
    """

    def __init__(self, probs: Tensor, truth: Tensor, valid: Tensor, threshold: float) -> None:
        self.probs = probs
        self.truth = truth
        self.valid = valid.expand_as(truth)
        self.found = probs >= threshold

    @cached_property
    def confusion(self) -> Tensor:
        """Counts `(B, K, 4)` of true positive, false positive, false negative, true negative pixels."""
        code = self.found.to(torch.uint8) * 2 + self.truth.to(torch.uint8)
        code = code.masked_fill(~self.valid, 4).flatten(2)
        true_positive, false_positive, false_negative, true_negative = (
            (code == value).sum(2) for value in (3, 2, 1, 0)
        )
        return torch.stack([true_positive, false_positive, false_negative, true_negative], dim=2)


@dataclass(frozen=True)
class Score:
    """One metric over the images of a split."""

    name: str
    value: float
    """The headline: mean over images or value over all pixels, as `scope` says."""
    scope: str
    interval: tuple[float, float] | None
    """95 % bootstrap interval of `value` over images; None for fewer than two images."""
    mean: float
    """Mean over the images for which the metric is defined."""
    pooled: float
    """Value over all pixels of the split."""
    num_images: int
    """Images for which the metric is defined."""
    per_image: list[float]
    higher_is_better: bool


class Metric(ABC):
    """A number that says how good a prediction is."""

    Config: ClassVar[type[ConfigModel]] = ConfigModel
    name: str = ""
    """The component's file name; the key in results."""
    headline: ClassVar[Literal["mean", "pooled"]] = "mean"
    """What `average_metrics` reports: the mean over images, or the value over all pixels of the data set."""
    higher_is_better: ClassVar[bool] = True
    costly: ClassVar[bool] = False
    """Too slow for training batches: computed in validation and evaluation only."""

    def __init__(self, config: ConfigModel) -> None:
        self.config = config

    @property
    def statistics_name(self) -> str:
        """Metrics with one name here have the same statistics, which are then computed once."""
        return self.name

    @abstractmethod
    def statistics(self, scored: Scored) -> Tensor:
        """Additive numbers per image and channel, `(B, K, n)`, without waiting for the device."""

    @abstractmethod
    def values(self, statistics: Array) -> Array:
        """Value of each row, `(..., n) -> (...)`; NaN where it is not defined."""


class ConfusionMetric(Metric):
    """A metric of the four counts."""

    @property
    def statistics_name(self) -> str:
        """One for all metrics of this kind."""
        return "confusion"

    def statistics(self, scored: Scored) -> Tensor:
        """Counts `(B, K, 4)`."""
        return scored.confusion

    def values(self, statistics: Array) -> Array:
        """Value of each row of counts."""
        return self.from_counts(*(statistics[..., column].astype(float) for column in range(4)))

    @abstractmethod
    def from_counts(self, tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
        """Value from true positive, false positive, false negative and true negative pixels."""


def ratio(numerator: Array, denominator: Array) -> Array:
    """Quotient, NaN where the denominator is 0.

    Example:
        >>> import numpy as np
        >>> ratio(np.array([1.0, 0.0]), np.array([2.0, 0.0]))
        array([0.5, nan])
    """
    defined = denominator != 0
    result: Array = np.divide(numerator, denominator, out=np.full_like(denominator, np.nan), where=defined)
    return result
