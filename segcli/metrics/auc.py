"""Area under the ROC curve."""

import numpy as np
import torch
from torch import Tensor

from segcli.core.types import Array
from segcli.metrics import Metric, Scored, ratio

__all__ = ["AUC"]

BINS = 2**15
FAINT = 2**12
"""Bins for logits below -17; there are fewer of them, since hardly a decision is made there."""
LIMIT, FAINTEST = 17.0, -88.0
"""Logits of the largest float32 probability below 1, and of the smallest above 0."""


class AUC(Metric):
    """Probability that a foreground pixel scores higher than a background pixel, over all pixels of the data set.

    Scores are counted in 32,768 bins of logits (0.0012 wide where decisions are made), which agrees with the exact
    rank statistic to 2e-4 and lets the pixels of a data set of any size be pooled. NaN where foreground or background
    is empty.
    """

    headline = "pooled"
    costly = True

    def statistics(self, scored: Scored) -> Tensor:
        """Histograms of background and foreground scores, `(B, K, 2 * BINS)`."""
        logits = torch.logit(scored.probs.float()).clamp(FAINTEST, LIMIT)
        faint = (logits - FAINTEST) * (FAINT / (-LIMIT - FAINTEST))
        usual = FAINT + (logits + LIMIT) * ((BINS - FAINT) / (2 * LIMIT))
        position = torch.where(logits < -LIMIT, faint, usual).long().clamp(0, BINS - 1) + BINS * scored.truth
        rows, columns = scored.probs.shape[:2]
        counts = torch.zeros(rows, columns, 2 * BINS, dtype=torch.int32, device=position.device)
        weight = scored.valid.to(torch.int32)
        return counts.scatter_add_(2, position.flatten(2), weight.flatten(2))

    def values(self, statistics: Array) -> Array:
        """Mann-Whitney statistic of the histograms; scores within a bin count as ties."""
        background = statistics[..., :BINS].astype(float)
        foreground = statistics[..., BINS:].astype(float)
        below = np.cumsum(background, axis=-1) - 0.5 * background
        wins = (foreground * below).sum(axis=-1)
        return ratio(wins, foreground.sum(axis=-1) * background.sum(axis=-1))

    @staticmethod
    def foreground(statistics: Array) -> Array:
        """Foreground pixels."""
        total: Array = statistics[..., BINS:].sum(axis=-1)
        return total

    @staticmethod
    def from_threshold(statistics: Array, threshold: float) -> tuple[Array, Array]:
        """Background and foreground pixels from a probability between 0 and 1 on, exact to one bin."""
        logit = float(np.log(threshold / (1.0 - threshold)))
        first = FAINT + int(np.ceil((logit + LIMIT) * ((BINS - FAINT) / (2 * LIMIT))))
        return statistics[..., first:BINS].sum(axis=-1), statistics[..., BINS + first :].sum(axis=-1)
