"""Centre-line Dice (clDice) for tubes: vessels, nerves, roads.

Paper: Shit et al., "clDice - a novel topology-preserving loss function for tubular structure segmentation", CVPR 2021,
https://arxiv.org/abs/2003.07311.

Differs from the paper's code: the centre lines come from the thinning of Guo and Hall, which keeps every component,
instead of that of Zhang and Suen.
"""

import numpy as np
import torch
from torch import Tensor

from segcli.core.types import Array
from segcli.metrics import Metric, Scored, ratio
from segcli.nn.thinning import thinned

__all__ = ["ClDice"]


class ClDice(Metric):
    """Harmonic mean of two shares: centre lines of each mask that lie inside the other mask; 2D only.

    NaN where both masks are empty, 0 where one is. The pooled value takes all centre lines of the data set together.
    """

    costly = True
    can_ndim = (2,)

    def statistics(self, scored: Scored) -> Tensor:
        """Count found centre-line pixels, those inside the true mask, and the same for the true mask, `(B, K, 4)`."""
        rows = [
            [_counts(found, truth) + _counts(truth, found) for found, truth in zip(*image, strict=True)]
            for image in zip(*scored.masks, strict=True)
        ]
        return torch.tensor(rows, device=scored.probs.device)

    def values(self, statistics: Array) -> Array:
        """Compute the harmonic mean of both shares."""
        found, found_inside, true, true_inside = (statistics[..., column].astype(float) for column in range(4))
        # 2 / (1 / precision + 1 / sensitivity), written so that no denominator of a share can be 0
        value = ratio(2 * found_inside * true_inside, found_inside * true + true_inside * found)
        return np.where(np.isnan(value) & (found + true > 0), 0.0, value)


def _counts(mask: Array, other: Array) -> list[int]:
    """Count the pixels of the mask's centre lines, and those of them that lie in the other mask."""
    lines = thinned(mask)
    return [int(np.count_nonzero(lines)), int(np.count_nonzero(lines & other))]
