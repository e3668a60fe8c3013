"""Area under the ROC curve."""

import numpy as np
import torch
from torch import Tensor

from segcli.core.types import Array
from segcli.metrics import Metric, Scored, ratio

__all__ = ["AUC"]

BINS = 2**15
LIMIT = 16.0
"""Logits beyond this share a bin: float32 probabilities cannot tell them apart near 1."""


class AUC(Metric):
    """Probability that a foreground pixel scores higher than a background pixel, over all pixels of the data set.

    Scores are counted in 32,768 bins of logits (0.001 wide), which agrees with the exact rank statistic to 1e-4 and
    lets the pixels of a data set of any size be pooled. NaN where foreground or background is empty.
    """

    headline = "pooled"
    costly = True

    def statistics(self, scored: Scored) -> Tensor:
        """Histograms of background and foreground scores, `(B, K, 2 * BINS)`."""
        logits = torch.logit(scored.probs.float(), eps=1e-7)
        position = ((logits + LIMIT) * (BINS / (2 * LIMIT))).long().clamp(0, BINS - 1)
        position = position + BINS * scored.truth
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
