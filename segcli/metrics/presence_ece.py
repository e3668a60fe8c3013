"""Expected calibration error of the confidence in presence.

Paper: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, https://arxiv.org/abs/1706.04599.
"""

from typing import Literal

import torch
from torch import Tensor

from segcli.core.types import Array
from segcli.metrics import Metric, Scored, ratio

__all__ = ["PresenceECE"]

BINS = 15
"""Bins of equal width from 0 to 1, as in the paper."""


class PresenceECE(Metric):
    """Difference between confidence and share of right presences, averaged over all cases in 15 bins of confidence.

    A network without a calibrated confidence counts as certain: the value is then the share of wrong presences.
    """

    headline: Literal["mean", "pooled"] = "pooled"
    pool = "all cases"
    needs_pixels = True
    needs_calibrated = "confidence"
    higher_is_better = False
    perfect = 0.0

    def statistics(self, scored: Scored) -> Tensor:
        """Sum cases, confidences and right presences in each bin, `(B, K, 3 * BINS)`."""
        right = scored.found_presence == scored.true_presence
        confidence = scored.certainty.get("confidence", torch.ones_like(right, dtype=torch.float32)).float()
        counted = scored.valid.flatten(2).any(2)
        bins = torch.nn.functional.one_hot((confidence * BINS).long().clamp(0, BINS - 1), BINS) * counted.unsqueeze(2)
        sums = [bins.float(), bins * confidence.unsqueeze(2), bins * right.unsqueeze(2).float()]
        return torch.cat(sums, dim=2)

    def values(self, statistics: Array) -> Array:
        """Divide the sum of the differences of all bins by the number of cases."""
        cases, confidence, right = (statistics[..., BINS * part : BINS * (part + 1)].astype(float) for part in range(3))
        return ratio(abs(right - confidence).sum(axis=-1), cases.sum(axis=-1))
